/** The service that proxies ask: a wire with one listener, and a pool of workers behind it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { CompileOptions } from '../../waf/compile/compile-on-thread.ts'
import type { Program } from '../../waf/program.ts'
import { WorkerPool } from '../../waf/pool.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { statsOf } from '../drain.ts'
import { GenerationUsers } from '../generation-users.ts'
import type { Logger } from '../log.ts'
import { logPoolEvent } from '../pool-log.ts'
import type { Wire } from '../wire.ts'
import type { WireConfig } from '../wire-config.ts'
import { serviceConfigOf, wireConfigOf } from '../wire-settings.ts'
import { serviceSecret } from './secret.ts'
import { variantNames } from './variant.ts'
import type { AnsweringSetup, FromAnswering, ServedRules, ToAnswering } from './worker.ts'

const module = new URL('./worker.ts', import.meta.url)
const pollMs = 20
/** Proxies that take new rules over later than that after the service are refused meanwhile. */
const overlapMs = 10 * 60_000

/** What the wire of a service is made of; without a listener it only holds the addon. */
export function serviceWireConfig(config: EdgeConfig, address: string | null): WireConfig {
  const listener = { name: 'waf', kind: 'waf', altSvc: '' } as const
  return {
    ...wireConfigOf(config),
    listeners: address === null ? [] : [{ ...listener, address }],
    sharedPorts: false,
    templates: [],
    service: serviceConfigOf(config, [], serviceSecret(config)),
  }
}

/** Rules to be asked about. */
export interface Rules {
  readonly config: EdgeConfig
  /** What `program` was compiled from. */
  readonly compiledFrom: CompileOptions
  readonly program: Program
}

/** What it is started with. */
export interface ServiceOptions extends Rules {
  readonly wire: Wire
  readonly log: Logger
  /** No question is about that program any more. */
  readonly onRetired: (program: Program) => void
}

/** A service at work. */
export interface RunningService {
  readonly pool: WorkerPool
  /** Fulfilled when a worker hangs in native code: only the end of the process helps. */
  readonly stuck: Promise<'stuck'>
  /** From now on questions may be about these, too; about the last ones for a while yet. */
  take(rules: Rules): void
  /** Sends proxies elsewhere, and answers what was asked until then. */
  drain(): Promise<void>
}

/** Starts the workers; ends when each takes questions. */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { config, wire, log } = options
  const { promise: stuck, resolve: reportStuck } = Promise.withResolvers<'stuck'>()
  const served = new Served(options)
  const pool = new WorkerPool({
    workers: config.waf.workers,
    spawn: (slot) => {
      const setup: AnsweringSetup = { slot, rules: served.all }
      return new Worker(module, { workerData: setup })
    },
    detach: (slot, generation) => wire.detachWorker(slot, generation),
    silence: () => wire.workerSilence(),
    silenceMaxMs: config.waf.workerSilenceMs,
    onEvent: (event) => {
      if (event.type === 'stuck') reportStuck('stuck')
      if (event.type === 'ended') served.users.ended(event.slot)
      logPoolEvent(event, log)
    },
    onMessage: (slot, message) => {
      // The only one that a worker of ours sends.
      const { generation } = message as FromAnswering
      served.users.released(slot, generation)
    },
  })
  await pool.start()
  return {
    pool,
    stuck,
    take: (rules) => served.take(rules, (message) => pool.broadcast(message)),
    drain: () => drain(options),
  }
}

/** Tells all workers; the slots of those that run. */
type Tell = (message: ToAnswering) => readonly number[]

/** The rules that questions may be about, the newest first. */
class Served {
  readonly users: GenerationUsers
  readonly #programs = new Map<number, Program>()
  #all: readonly [ServedRules, ...ServedRules[]]

  constructor(options: ServiceOptions) {
    this.#all = [this.#served(1, options)]
    this.users = new GenerationUsers((generation) => {
      const program = this.#programs.get(generation)
      this.#programs.delete(generation)
      if (program !== undefined) options.onRetired(program)
    })
  }

  get all(): readonly [ServedRules, ...ServedRules[]] {
    return this.#all
  }

  take(rules: Rules, tell: Tell): void {
    const [last, ...older] = this.#all
    // However often one reloads: two at a time, or they would fill the memory.
    for (const old of older) this.#forget(old, tell)
    const next = this.#served(last.generation + 1, rules)
    this.#all = [next, last]
    tell({ kind: 'take', rules: next })
    setTimeout(() => this.#forget(last, tell), overlapMs).unref()
  }

  #forget(old: ServedRules, tell: Tell): void {
    const [newest, ...older] = this.#all
    if (!older.includes(old)) return
    this.#all = [newest, ...older.filter((one) => one !== old)]
    const { generation } = old
    this.users.replaced(generation, tell({ kind: 'forget', generation }))
  }

  #served(generation: number, { config, compiledFrom, program }: Rules): ServedRules {
    this.#programs.set(generation, program)
    return { generation, config, program, variants: variantNames(compiledFrom) }
  }
}

async function drain({ config, wire }: ServiceOptions): Promise<void> {
  const { delayMs, timeoutMs } = config.drain
  // Meanwhile names forget this service, and it serves on.
  await sleep(delayMs)
  wire.drain()
  wire.stopAccepting()
  const deadline = performance.now() + timeoutMs
  // A proxy closes its connection when it has the last verdict that it waits for.
  while (statsOf(wire).connectionsOpen > 0 && performance.now() < deadline) await sleep(pollMs)
}
