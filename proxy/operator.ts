/** What operators may ask the running program, and where. */
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { expose } from './admin/exposition.ts'
import { type ProgramState, type WireStats, samplesOf } from './admin/samples.ts'
import { upstreamSamples, withOutstanding } from './admin/upstream-samples.ts'
import { type AdminSource, adminServer, listenOn, statusServer } from './admin/server.ts'
import type { EventStore } from './events/store.ts'
import type { ReloadState, Reloader } from './reload.ts'
import type { Supervisor } from './supervisor.ts'
import { routeLevels } from './tuning.ts'
import type { WafState } from './waf-state.ts'
import type { Upstreams } from './upstream/upstreams.ts'
import type { Wire } from './wire.ts'

/** The running program, as far as operators may see it. */
export interface Running {
  readonly reloader: Pick<Reloader, 'snapshot' | 'state'>
  readonly wire: Pick<Wire, 'stats'>
  readonly supervisor: Supervisor
  readonly upstreams: Pick<Upstreams, 'report' | 'lookups' | 'probes'>
  readonly events: Pick<EventStore, 'find' | 'list' | 'numbers'>
  readonly state: Pick<WafState, 'samples'>
}

/** Starts the admin API and the status listener, where the configuration wants them. */
export async function startOperatorServers(running: Running): Promise<FastifyInstance[]> {
  const { admin, status, listen } = running.reloader.snapshot.config
  const source = adminSource(running)
  const servers: FastifyInstance[] = []
  for (const [address, create] of [
    [admin, adminServer],
    [status, statusServer],
  ] as const) {
    if (address === null) continue
    const server = create(source)
    await listenOn(server, address, listen.shared)
    servers.push(server)
  }
  return servers
}

function adminSource({ reloader, wire, supervisor, ...parts }: Running): AdminSource {
  const { upstreams, events, state } = parts
  const startTimeMs = Date.now()
  const { version } = packageFile()
  const { collector, pool } = supervisor
  const now = (): ProgramState => {
    const { rules, certificates } = reloader.snapshot
    return {
      version,
      rules: rules.program?.components.join(',') ?? 'off',
      startTimeMs,
      workerRestarts: supervisor.restarts,
      reloads: reloader.state,
      events: events.numbers,
      certificates: certificates.flatMap(({ names, notAfterMs }) =>
        names.map((san) => ({ san, notAfterMs })),
      ),
    }
  }
  return {
    config: () => reloader.snapshot.config,
    reloads: () => reloader.state,
    routes: () => routeLevels(reloader.snapshot.config, reloader.snapshot.rules.program),
    events: async (query) => {
      await collector.refresh()
      return events.list(query)
    },
    event: async (requestId) => {
      await collector.refresh()
      return events.find(requestId)
    },
    metrics: async () => {
      const reports = await collector.reports()
      const stats: WireStats = JSON.parse(wire.stats())
      const own = [...samplesOf(stats, now()), ...upstreamSamples(upstreams)]
      return expose(reports, [...own, ...state.samples()])
    },
    upstreams: async () => withOutstanding(upstreams.report(), await collector.reports()),
    ready: () => [
      { name: 'rules', ok: true },
      { name: 'workers', ok: pool.ready > 0 },
      { name: 'not-draining', ok: !supervisor.draining },
      // What runs is good, so a refused reload is no reason to send clients elsewhere.
      { name: configLine(reloader.state), ok: true },
    ],
    // These servers start when everything else has.
    started: () => [{ name: 'started', ok: true }],
  }
}

function configLine({ generation, last }: ReloadState): string {
  const line = `config generation ${generation}`
  if (last === null || last.ok) return line
  const at = new Date(last.timeMs).toISOString()
  return `${line}; refused at ${at}: ${last.faults[0]?.split('\n')[0] ?? ''}`
}

function packageFile(): { readonly version: string } {
  const file: { version: string } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  )
  return file
}
