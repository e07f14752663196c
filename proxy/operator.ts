/** What operators may ask the running program, and where. */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import type { Program } from '../waf/program.ts'
import { expose } from './admin/exposition.ts'
import { type ProgramState, type WireStats, samplesOf } from './admin/samples.ts'
import { upstreamSamples, withOutstanding } from './admin/upstream-samples.ts'
import { type AdminSource, adminServer, listenOn, statusServer } from './admin/server.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { Supervisor } from './supervisor.ts'
import type { Upstreams } from './upstream/upstreams.ts'
import type { Wire } from './wire.ts'
import type { CertificateSet } from './wire-config.ts'

/** The running program, as far as operators may see it. */
export interface Running {
  readonly config: EdgeConfig
  readonly program: Program | null
  readonly certificates: CertificateSet['certificates']
  readonly wire: Pick<Wire, 'stats'>
  readonly supervisor: Supervisor
  readonly upstreams: Pick<Upstreams, 'report' | 'lookups' | 'probes'>
}

/** Starts the admin API and the status listener, where the configuration wants them. */
export async function startOperatorServers(running: Running): Promise<FastifyInstance[]> {
  const { admin, status } = running.config
  const source = adminSource(running)
  const servers: FastifyInstance[] = []
  for (const [address, create] of [
    [admin, adminServer],
    [status, statusServer],
  ] as const) {
    if (address === null) continue
    const server = create(source)
    await listenOn(server, address)
    servers.push(server)
  }
  return servers
}

function adminSource(running: Running): AdminSource {
  const { config, program, certificates, wire, supervisor, upstreams } = running
  const startTimeMs = Date.now()
  const { version } = packageFile()
  const state = {
    version,
    rules: program?.components.join(',') ?? 'off',
    startTimeMs,
    configLoaded: true,
    certificates: certificates.flatMap(({ chain, names }) => expiry(chain, names)),
  }
  const { collector, pool } = supervisor
  return {
    config: () => config,
    events: async (limit) => {
      await collector.refresh()
      return collector.events.newest(limit)
    },
    metrics: async () => {
      const reports = await collector.reports()
      const stats: WireStats = JSON.parse(wire.stats())
      const now: ProgramState = { ...state, workerRestarts: supervisor.restarts }
      return expose(reports, [...samplesOf(stats, now), ...upstreamSamples(upstreams)])
    },
    upstreams: async () => withOutstanding(upstreams.report(), await collector.reports()),
    ready: () => [
      { name: 'rules', ok: true },
      { name: 'workers', ok: pool.ready > 0 },
      { name: 'not-draining', ok: !supervisor.draining },
    ],
    // These servers start when everything else has.
    started: () => [{ name: 'started', ok: true }],
  }
}

function expiry(chain: string, names: readonly string[]): ProgramState['certificates'] {
  const notAfterMs = new X509Certificate(chain).validToDate.getTime()
  return names.map((san) => ({ san, notAfterMs }))
}

function packageFile(): { readonly version: string } {
  const file: { version: string } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  )
  return file
}
