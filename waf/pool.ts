/**
 * The WAF worker pool: keeps W workers running, whatever becomes of them. A worker that throws,
 * exits or falls silent is ended, its exchanges are taken away from it, a fresh one takes the slot.
 */
import { type EndReason, PoolSlot, type PoolWorker } from './pool-slot.ts'

export type { EndReason, PoolWorker } from './pool-slot.ts'

/** What happened in the pool, for log and metrics. */
export type PoolEvent =
  | { readonly type: 'ready'; readonly slot: number; readonly generation: number }
  | { readonly type: 'silent'; readonly slot: number; readonly silenceMs: number }
  /** Asked to end and still there: it hangs in native code, which no thread can interrupt. */
  | { readonly type: 'stuck'; readonly slot: number }
  | {
      readonly type: 'ended'
      readonly slot: number
      readonly reason: EndReason
      readonly code: number
      readonly error: Error | null
      readonly aliveMs: number
      /** How long until the next worker starts in the slot. */
      readonly respawnInMs: number
    }

/** What the pool needs to know and whom it tells. */
export interface PoolOptions {
  readonly workers: number
  /**
   * A new worker for a slot, with the newest rules; it posts `{ type: 'ready', generation }` once
   * it takes exchanges.
   */
  readonly spawn: (slot: number) => PoolWorker
  /** The addon's `detachWorker`: gives the lost worker's exchanges to others. */
  readonly detach: (slot: number, generation: number) => void
  /** The addon's `workerSilence`: milliseconds per slot. */
  readonly silence: () => readonly number[]
  /** Beyond this a worker with work counts as hung. */
  readonly silenceMaxMs: number
  readonly onEvent: (event: PoolEvent) => void
  /** Messages of workers other than `ready`. */
  readonly onMessage: (slot: number, message: unknown) => void
  /** For tests. */
  readonly now?: () => number
}

/** How often silence is looked at. */
const pollMs = 100
/** Ends of a slot before it ever got ready, after which `start` gives up. */
const startsMax = 5

/** The pool; nothing runs before `start`. */
export class WorkerPool {
  readonly #options: PoolOptions
  readonly #slots: readonly PoolSlot[]
  #poll: NodeJS.Timeout | null = null
  #started: PromiseWithResolvers<void> | null = null

  constructor(options: PoolOptions) {
    this.#options = options
    const now = options.now ?? (() => performance.now())
    this.#slots = Array.from(
      { length: options.workers },
      (_, slot) =>
        new PoolSlot({
          now,
          spawn: () => options.spawn(slot),
          onReady: (generation) => this.#ready(slot, generation),
          onMessage: (message) => options.onMessage(slot, message),
          onEnded: (end) => {
            if (end.generation !== null) options.detach(slot, end.generation)
            const { reason, code, error, aliveMs, respawnInMs } = end
            options.onEvent({ type: 'ended', slot, reason, code, error, aliveMs, respawnInMs })
            if (end.readyNever && end.starts >= startsMax) this.#giveUp(slot, error)
          },
        }),
    )
  }

  /** Workers that take exchanges now. */
  get ready(): number {
    return this.#slots.filter((slot) => slot.ready).length
  }

  /** Starts all workers; fulfilled once each was ready, rejected when one ends again and again. */
  start(): Promise<void> {
    this.#started ??= Promise.withResolvers<void>()
    for (const slot of this.#slots) slot.start()
    this.#poll = setInterval(() => this.#lookForSilence(), pollMs)
    this.#poll.unref()
    return this.#started.promise
  }

  /** Sends a message to every worker that runs; the slots of those. */
  broadcast(message: unknown): number[] {
    return this.#slots.flatMap((slot, index) => (slot.post(message) ? [index] : []))
  }

  /** Ends all workers for good. */
  async stop(): Promise<void> {
    if (this.#poll !== null) clearInterval(this.#poll)
    this.#poll = null
    await Promise.all(this.#slots.map((slot) => slot.stop()))
  }

  #ready(slot: number, generation: number): void {
    this.#options.onEvent({ type: 'ready', slot, generation })
    if (this.ready === this.#slots.length) this.#started?.resolve()
  }

  #giveUp(slot: number, cause: Error | null): void {
    const reason = cause?.message ?? 'it exited'
    const message = `WAF worker ${slot} does not start: ${reason}`
    this.#started?.reject(new Error(message, { cause }))
  }

  #lookForSilence(): void {
    const { silence, silenceMaxMs, onEvent } = this.#options
    for (const [slot, silenceMs] of silence().entries()) {
      const worker = this.#slots[slot]
      if (worker === undefined) continue
      if (worker.stuckBeyond(silenceMaxMs)) onEvent({ type: 'stuck', slot })
      // A worker that is not ready yet is compiling its rules, not hanging.
      if (silenceMs <= silenceMaxMs || !worker.ready) continue
      onEvent({ type: 'silent', slot, silenceMs })
      worker.end('silent')
    }
  }
}
