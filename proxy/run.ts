/** `edge run`: puts the program together, runs it until a signal, and takes it apart. */
import { createServer } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Program } from '../waf/program.ts'
import { SecLangError } from '../waf/seclang/faults.ts'
import { exitCodes } from './cli/exit-codes.ts'
import type { Environment } from './config/environment.ts'
import { ConfigError } from './config/faults.ts'
import type { EdgeConfig } from './config/schema.ts'
import { drain } from './drain.ts'
import { EventStore } from './events/store.ts'
import { hostPortOf, hostPortText } from './host-port.ts'
import { Identities } from './identities.ts'
import type { Loaded } from './load.ts'
import { type Logger, operationLog } from './log.ts'
import { spareMemory } from './memory.ts'
import { Neighbours } from './neighbours.ts'
import type { Running } from './operator.ts'
import { Reloader, certificateSetOf } from './reload.ts'
import type { Signals } from './signals.ts'
import { type Snapshot, numbered, prepare } from './snapshot.ts'
import { type Supervisor, superviseWorkers } from './supervisor.ts'
import { ServiceManager } from './systemd.ts'
import { endpointLookup } from './upstream/mesh-names.ts'
import { systemLookup } from './upstream/names.ts'
import { probe } from './upstream/probe.ts'
import { ticketKeySetOf } from './tls/ticket-keys.ts'
import { logLevels } from './tuning.ts'
import { Upstreams } from './upstream/upstreams.ts'
import { ServiceAddresses } from './waf-service/addresses.ts'
import { WafState } from './waf-state.ts'
import { WarmThreads } from './warm-threads.ts'
import { FileWatch } from './watch.ts'
import { type Wire, createWire, health, notify } from './wire.ts'
import { wireConfigOf } from './wire-settings.ts'
import { reasonOf } from '../waf/reason-of.ts'

/** What `run` needs besides the configuration. */
export interface RunOptions {
  readonly env: Environment
  readonly signals: Signals
  /** Reads everything anew, from the same command line. */
  readonly load: () => Promise<Loaded>
  /** Told of every configuration that was taken. */
  readonly onTaken: (loaded: Loaded) => void
  /** Why the program begins with the last good configuration; empty when it does not. */
  readonly replaced: readonly string[]
}

// For what workers still have to write when nothing more comes in.
const flushMs = 1_000

/** Runs until SIGTERM or SIGINT; the exit code. A `ConfigError` is the caller's to show. */
export async function run(given: Loaded, options: RunOptions): Promise<number> {
  const stopSparing = spareMemory()
  const { log, flush } = operationLog(given.config.log.level)
  for (const notice of given.notices) log.warn(notice)
  const manager = new ServiceManager(options.env, notify)
  try {
    const loaded = { ...given, config: await withFixedPort(given.config) }
    // First of all, because the main thread must hold the addon before any other thread loads it.
    const wire = createWire(wireConfigOf(loaded.config))
    const threads = new WarmThreads(loaded.config.waf.workers)
    try {
      return await serveUntilEnd(loaded, { given, options, wire, log, manager, threads })
    } finally {
      await threads.stop()
      wire.stop()
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error
    return reportFailure(error)
  } finally {
    stopSparing()
    manager.close()
    flush()
  }
}

interface Parts {
  readonly given: Loaded
  readonly options: RunOptions
  readonly wire: Wire
  readonly log: Logger
  readonly manager: ServiceManager
  readonly threads: WarmThreads
}

async function serveUntilEnd(loaded: Loaded, parts: Parts): Promise<number> {
  const { options, wire, log, manager, threads } = parts
  const { config } = loaded
  const identities = new Identities()
  const certificates = numbered(loaded.certificates, identities)
  if (certificates.length > 0) wire.setCertificates(certificateSetOf(certificates))
  if (loaded.ticketKeys.length > 0) wire.setTicketKeys(ticketKeySetOf(loaded.ticketKeys))
  const neighbours = meetNeighbours(loaded, parts)
  const watch = config.reload.watch
    ? new FileWatch({ onChange: () => void reloader.request('files') })
    : null
  watch?.note(loaded.files)
  const preparing = prepare(loaded, null, { identities, log })
  // Before the rules are there: a port that is taken is told at once, and probes read `starting`.
  // Beside a program that serves these ports, not before all is ready: clients are in its hands.
  let addresses = config.listen.shared ? null : listen(wire, preparing)
  const first = await preparing
  let supervisor: Supervisor | null = null
  const upstreams = new Upstreams({
    setEndpoints: (table) => wire.setEndpoints(JSON.stringify(table)),
    tell: (states) => supervisor?.tellUpstreams(states),
    inUse: () => reloader.generations > 1,
    log,
    lookup: endpointLookup(config.mesh.stateDir),
    probe,
    clock: () => performance.now(),
  })
  const service = serviceAddresses(parts)
  await Promise.all([upstreams.configure(loaded), service.configure(config)])
  const events = new EventStore(config.waf.events, { log, nowMs: () => Date.now() })
  const state = new WafState(config.waf, log)
  supervisor = superviseWorkers({
    setup: first.setup,
    upstreams,
    wire,
    log,
    events,
    threads,
    onRetired: (generation) => reloader.retire(generation),
  })
  const own = { ...parts, identities, upstreams, state, watch, service, neighbours }
  const reloader = reloaderOf(first, supervisor, own)
  let servers: readonly FastifyInstance[] = []
  try {
    servers = await startAll({ reloader, wire, supervisor, upstreams, events, state })
    addresses ??= wire.listen()
    wire.setHealth(health.ok)
    announce(first, addresses, log)
    manager.ready(statusOf(reloader))
    noteStart(reloader, parts)
    options.signals.onHangup(() => void reloader.request('SIGHUP'))
    watch?.set(first.inputs)
    return await finish(supervisor, reloader, { ...parts, state, watch })
  } finally {
    watch?.close()
    upstreams.stop()
    service.stop()
    neighbours.stop()
    await supervisor.pool.stop()
    state.stop()
    await Promise.all(servers.map((server) => server.close()))
    events.close()
  }
}

function serviceAddresses({ wire, log }: Pick<Parts, 'wire' | 'log'>): ServiceAddresses {
  return new ServiceAddresses({
    setService: (settings) => wire.setService(JSON.stringify(settings)),
    lookup: systemLookup,
    log,
  })
}

/** Not waited for: the program serves without them, and they may have no name yet. */
function meetNeighbours(loaded: Loaded, { wire, log }: Pick<Parts, 'wire' | 'log'>): Neighbours {
  const neighbours = new Neighbours({
    setNeighbours: (acquaintance) => wire.setNeighbours(JSON.stringify(acquaintance)),
    lookup: systemLookup,
    log,
  })
  void neighbours.configure(loaded)
  return neighbours
}

/** The workers, and meanwhile what operators talk to, where they may talk at all. */
async function startAll(running: Running): Promise<readonly FastifyInstance[]> {
  const { admin, status } = running.reloader.snapshot.config
  const [operator] = await Promise.all([
    admin === null && status === null ? null : import('./operator.ts'),
    running.supervisor.pool.start(),
  ])
  return operator === null ? [] : operator.startOperatorServers(running)
}

/** A start with the configuration that was given makes it the last good one. */
function noteStart(reloader: Reloader, { options, given }: Parts): void {
  if (options.replaced.length === 0) options.onTaken(given)
  else reloader.startedWithout(options.replaced)
}

/** Waits for the end, and finishes what has begun until then; the exit code. */
async function finish(
  supervisor: Supervisor,
  reloader: Reloader,
  parts: Parts & { readonly state: WafState; readonly watch: FileWatch | null },
): Promise<number> {
  const { options, wire, log, manager, state, watch } = parts
  const reason = await Promise.race([options.signals.end, supervisor.stuck])
  log.info({ reason }, 'draining')
  supervisor.draining = true
  watch?.close()
  options.signals.onHangup(() => undefined)
  manager.stopping()
  state.save()
  await drain(wire, reloader.snapshot.config.drain)
  await supervisor.flush(flushMs)
  return reason === 'stuck' ? exitCodes.failure : exitCodes.fine
}

function reloaderOf(
  first: Snapshot,
  supervisor: Supervisor,
  parts: Parts & {
    readonly identities: Identities
    readonly upstreams: Upstreams
    readonly state: WafState
    readonly service: ServiceAddresses
    readonly neighbours: Neighbours
    readonly watch: FileWatch | null
  },
): Reloader {
  const { given, options, manager, state, service, neighbours, watch } = parts
  const reloader: Reloader = new Reloader({
    ...parts,
    given: given.config,
    load: options.load,
    first,
    supervisor,
    onBegin: () => {
      watch?.mark()
      manager.reloading()
    },
    onEnd: (files, taken) => {
      watch?.set(files)
      manager.ready(statusOf(reloader))
      if (taken === null) return
      state.configure(taken.config.waf)
      void service.configure(taken.config)
      void neighbours.configure(taken)
      options.onTaken(taken)
    },
  })
  return reloader
}

function statusOf({ state }: Reloader): string {
  const reason =
    state.last?.ok === false ? `, a newer one was refused: ${state.last.faults[0]}` : ''
  return `serving generation ${state.generation}${reason}`.replaceAll('\n', ' ')
}

function reportFailure(error: unknown): number {
  if (error instanceof SecLangError) {
    process.stderr.write(`${error.message}\n`)
    return exitCodes.configInvalid
  }
  process.stderr.write(`edge: ${reasonOf(error)}\n`)
  return exitCodes.failure
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

/** How each route is inspected, and the line that scripts wait for. */
function announce({ config, rules, notices }: Snapshot, bound: string[], log: Logger): void {
  for (const notice of notices) log.warn(notice)
  logLevels(log, { config, rules })
  const [http, https] = config.listen.http === null ? ['off', bound[0]] : bound
  const elsewhere = rules.variants === null ? 'off' : 'service'
  const named = rules.program === null ? elsewhere : rulesName(rules.program)
  const line = `ready http=${http ?? 'off'} https=${https ?? 'off'} rules=${named}`
  process.stdout.write(`${line}\n`)
}

/** The rule sets by their own names, or what stands in for them. */
export function rulesName({ components }: Program): string {
  return components.length === 0 ? 'base' : components.join(',').replaceAll(' ', '_')
}

/**
 * Port 0 of https becomes a real one: TCP and UDP must agree on it, and it is told to clients in
 * Alt-Svc and redirects, before anything is bound.
 */
async function withFixedPort(config: EdgeConfig): Promise<EdgeConfig> {
  const { https } = config.listen
  if (https === null) return config
  const { host, port: given } = hostPortOf(https)
  if (given !== 0) return config
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const probe = createServer().once('error', reject)
  probe.listen(0, host, () => {
    const address = probe.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    probe.close(() => resolve(port))
  })
  const fixed = hostPortText({ host, port: await promise })
  return { ...config, listen: { ...config.listen, https: fixed } }
}
