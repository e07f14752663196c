/** The main thread's side of the WAF workers: their pool, their reports, their end. */
import { setTimeout as sleep } from 'node:timers/promises'
import { WorkerPool } from '../waf/pool.ts'
import { Collector, type EventSink } from './admin/collector.ts'
import { GenerationUsers } from './generation-users.ts'
import type { Logger } from './log.ts'
import { logPoolEvent } from './pool-log.ts'
import type { UpstreamState } from './upstream/endpoint-state.ts'
import type { Upstreams } from './upstream/upstreams.ts'
import type { Wire } from './wire.ts'
import type { WarmThreads } from './warm-threads.ts'
import type { ToMain, ToWorker, WorkerSetup } from './worker-messages.ts'

/** The workers as the rest of the main thread sees them. */
export interface Supervisor {
  readonly pool: WorkerPool
  readonly collector: Collector
  /** Workers replaced since start. */
  readonly restarts: number
  /** Fulfilled when a worker hangs in native code: only the end of the process helps. */
  readonly stuck: Promise<'stuck'>
  /** A reload: workers that start later begin with it, those that run go over to it. */
  swap(setup: SharedSetup): void
  /** Something about the endpoints of these upstreams changed. */
  tellUpstreams(states: readonly UpstreamState[]): void
  /** True from the first signal on. */
  draining: boolean
  /** Tells the workers to write what they hold; ends when they did, or at the deadline. */
  flush(deadlineMs: number): Promise<void>
}

/** What every worker of a generation is born with. */
export type SharedSetup = Omit<WorkerSetup, 'slot' | 'upstreams'>

/** What the supervisor needs. */
export interface SupervisorOptions {
  /** What the first workers begin with. */
  readonly setup: SharedSetup
  /** Asked at the birth of each worker, told what fails. */
  readonly upstreams: Pick<Upstreams, 'states' | 'failing'>
  readonly wire: Wire
  readonly log: Logger
  /** Where workers come from. */
  readonly threads: Pick<WarmThreads, 'take'>
  /** Takes what the workers tell of exchanges. */
  readonly events: EventSink
  /** No worker has an exchange of that generation any more. */
  readonly onRetired: (generation: number) => void
}

/** Makes the pool; the caller starts it. */
export function superviseWorkers(options: SupervisorOptions): Supervisor {
  const { upstreams, wire, log, events, threads, onRetired } = options
  let { setup } = options
  const users = new GenerationUsers(onRetired)
  const { promise: stuck, resolve: reportStuck } = Promise.withResolvers<'stuck'>()
  let restarts = 0
  let unwritten = 0
  let reportWritten: (() => void) | null = null
  const pool: WorkerPool = new WorkerPool({
    workers: setup.config.waf.workers,
    spawn: (slot) => threads.take({ ...setup, slot, upstreams: upstreams.states() }),
    detach: (slot, generation) => wire.detachWorker(slot, generation),
    silence: () => wire.workerSilence(),
    silenceMaxMs: setup.config.waf.workerSilenceMs,
    onEvent: (event) => {
      if (event.type === 'ended' && event.reason !== 'stopped') restarts += 1
      if (event.type === 'ended') {
        collector.ended(event.slot)
        users.ended(event.slot)
      }
      if (event.type === 'stuck') reportStuck('stuck')
      logPoolEvent(event, log)
    },
    onMessage: (slot, message) => {
      if (!isToMain(message) || !('kind' in message)) return
      if (message.kind === 'report') collector.reported(slot, message)
      else if (message.kind === 'failing') upstreams.failing(message.endpoints)
      else if (message.kind === 'released') users.released(slot, message.generation)
      else {
        unwritten -= 1
        if (unwritten === 0) reportWritten?.()
      }
    },
  })
  const tell = (message: ToWorker): number => {
    pool.broadcast(message)
    return pool.ready
  }
  const swap = (next: SharedSetup): void => {
    const { generation, program: before } = setup
    setup = next
    const { program, ...rest } = next
    const order: ToWorker = { kind: 'swap', setup: { ...rest, upstreams: upstreams.states() } }
    const slots = pool.broadcast(program === before ? order : { ...order, program })
    users.replaced(generation, slots)
  }
  const collector = new Collector({ ask: tell }, events)
  return {
    pool,
    collector,
    stuck,
    swap,
    tellUpstreams: (states) => void tell({ kind: 'upstreams', upstreams: states }),
    draining: false,
    get restarts() {
      return restarts
    },
    async flush(deadlineMs) {
      const { promise, resolve } = Promise.withResolvers<void>()
      reportWritten = resolve
      unwritten = tell({ kind: 'stop' })
      if (unwritten > 0) await Promise.race([promise, sleep(deadlineMs)])
    },
  }
}

// Workers are our own code: whatever has a tag is one of their messages.
function isToMain(message: unknown): message is ToMain {
  return typeof message === 'object' && message !== null && ('kind' in message || 'type' in message)
}
