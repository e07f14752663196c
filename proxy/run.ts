/** `edge run`: puts the program together, runs it until a signal, and takes it apart. */
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance } from 'fastify'
import { compileOnThread } from '../waf/compile/compile-on-thread.ts'
import { LogFile } from '../waf/log-file.ts'
import type { Program } from '../waf/program.ts'
import { SecLangError } from '../waf/seclang/faults.ts'
import { exitCodes } from './cli/exit-codes.ts'
import { ConfigError, type Fault } from './config/faults.ts'
import type { EdgeConfig } from './config/schema.ts'
import { drain } from './drain.ts'
import { type Logger, operationLog } from './log.ts'
import { startOperatorServers } from './operator.ts'
import { superviseWorkers } from './supervisor.ts'
import { resolveEndpoints } from './upstream/resolve.ts'
import type { UpstreamFiles } from './upstream/upstream-files.ts'
import { type Wire, createWire, health } from './wire.ts'
import type { CertificateSet } from './wire-config.ts'
import { portOf, wireConfigOf } from './wire-settings.ts'

/** What `run` needs besides the configuration. */
export interface RunOptions {
  /** Empty when there is no https listener. */
  readonly certificates: CertificateSet
  /** In the order of the configuration's upstreams. */
  readonly upstreamFiles: readonly UpstreamFiles[]
  /** What the configuration wants the operator to know. */
  readonly notices: readonly string[]
}

// For what workers still have to write when nothing more comes in.
const flushMs = 1_000

/** Runs until SIGTERM or SIGINT; the exit code. A `ConfigError` is the caller's to show. */
export async function run(given: EdgeConfig, options: RunOptions): Promise<number> {
  const { log, flush } = operationLog(given.log.level)
  const signal = nextSignal()
  for (const notice of options.notices) log.warn(notice)
  try {
    const config = await withFixedPort(given)
    // First of all, because the main thread must hold the addon before any other thread loads it.
    const wire = createWire(wireConfigOf(config))
    try {
      const { certificates, upstreamFiles } = options
      return await serveUntil(signal, { config, wire, log, certificates, upstreamFiles })
    } finally {
      wire.stop()
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error
    return reportFailure(error)
  } finally {
    flush()
  }
}

interface Parts {
  readonly config: EdgeConfig
  readonly wire: Wire
  readonly log: Logger
  readonly certificates: CertificateSet
  readonly upstreamFiles: readonly UpstreamFiles[]
}

async function serveUntil(signal: Promise<string>, parts: Parts): Promise<number> {
  const { config, wire, log } = parts
  if (config.listen.https !== null) wire.setCertificates(JSON.stringify(parts.certificates))
  wire.setEndpoints(JSON.stringify(await resolveEndpoints(config.upstreams, parts.upstreamFiles)))
  checkLogFiles(config)
  const compiling = compileRules(config)
  // Before the rules are there: a port that is taken is told at once, and probes read `starting`.
  const addresses = listen(wire, compiling)
  const program = await compiling
  const { certificates } = parts.certificates
  const certificateNames = certificates.map(({ names }) => names)
  const supervisor = superviseWorkers({ config, program, certificateNames }, wire, log)
  let servers: readonly FastifyInstance[] = []
  try {
    await supervisor.pool.start()
    servers = await startOperatorServers({ config, program, certificates, wire, supervisor })
    wire.setHealth(health.ok)
    announce(config, addresses, program)
    const reason = await Promise.race([signal, supervisor.stuck])
    log.info({ reason }, 'draining')
    supervisor.draining = true
    await drain(wire, config.drain)
    await supervisor.flush(flushMs)
    return reason === 'stuck' ? exitCodes.failure : exitCodes.fine
  } finally {
    await supervisor.pool.stop()
    await Promise.all(servers.map((server) => server.close()))
  }
}

function reportFailure(error: unknown): number {
  if (error instanceof SecLangError) {
    process.stderr.write(`${error.message}\n`)
    return exitCodes.configInvalid
  }
  process.stderr.write(`edge: ${error instanceof Error ? error.message : String(error)}\n`)
  return exitCodes.failure
}

/** The workers open these files; a fault in their names is told here, once and with its place. */
function checkLogFiles({ waf }: EdgeConfig): void {
  const faults: Fault[] = []
  for (const key of ['logFile', 'auditLogFile'] as const) {
    const path = waf[key]
    if (path === null) continue
    try {
      new LogFile(path).close()
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      faults.push({ where: `waf.${key}`, message, mend: 'name a file that this user can write' })
    }
  }
  if (faults.length > 0) throw new ConfigError(faults)
}

/** Null when nothing is ever inspected. */
async function compileRules({ waf, routes }: EdgeConfig): Promise<Program | null> {
  if (waf.mode === 'off' || routes.every((route) => route.waf.mode === 'off')) return null
  return compileOnThread({
    baseFile: waf.baseFile ?? fileURLToPath(new URL('../waf/base.conf', import.meta.url)),
    crsDirectory: waf.rules,
    paranoia: waf.paranoia,
    setupFiles: waf.setupFiles,
    scanBudgetMs: waf.budgetMs,
  })
}

function listen(wire: Wire, compiling: Promise<unknown>): string[] {
  try {
    return wire.listen()
  } catch (error) {
    // The failure to listen is the one to report; that of the rules would be unheard.
    compiling.catch(() => undefined)
    throw error
  }
}

/** The line that scripts wait for. */
function announce({ listen: wanted }: EdgeConfig, bound: string[], program: Program | null): void {
  const [http, https] = wanted.http === null ? ['off', bound[0]] : bound
  const rules = program === null ? 'off' : rulesName(program)
  const line = `ready http=${http ?? 'off'} https=${https ?? 'off'} rules=${rules}`
  process.stdout.write(`${line}\n`)
}

/** The rule sets by their own names, or what stands in for them. */
export function rulesName({ components }: Program): string {
  return components.length === 0 ? 'base' : components.join(',').replaceAll(' ', '_')
}

/** The first signal drains; the second one ends the process at once. */
function nextSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let asked = false
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (asked) process.exit(exitCodes.failure)
      asked = true
      resolve(name)
    })
  }
  return promise
}

/**
 * Port 0 of https becomes a real one: TCP and UDP must agree on it, and it is told to clients in
 * Alt-Svc and redirects, before anything is bound.
 */
async function withFixedPort(config: EdgeConfig): Promise<EdgeConfig> {
  const { https } = config.listen
  if (https === null || portOf(https) !== 0) return config
  const host = https.slice(0, https.lastIndexOf(':'))
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const probe = createServer().once('error', reject)
  probe.listen(0, host.replace(/^\[(.*)\]$/, '$1'), () => {
    const address = probe.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    probe.close(() => resolve(port))
  })
  return { ...config, listen: { ...config.listen, https: `${host}:${await promise}` } }
}
