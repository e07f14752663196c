/** One place in the worker pool: the worker that holds it now, and when the next one may start. */

/** What the pool needs of a `Worker`. */
export interface PoolWorker {
  postMessage(message: unknown): void
  terminate(): Promise<number>
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'error', listener: (error: unknown) => void): unknown
  on(event: 'exit', listener: (code: number) => void): unknown
}

/** Why a worker ended. */
export type EndReason = 'exit' | 'error' | 'silent' | 'stopped'

/** How a worker ended. */
export interface WorkerEnd {
  readonly reason: EndReason
  readonly code: number
  readonly error: Error | null
  /** Null when it never said that it was ready. */
  readonly generation: number | null
  readonly aliveMs: number
  readonly respawnInMs: number
  /** True when no worker of the slot was ever ready. */
  readonly readyNever: boolean
  /** Workers started in the slot so far. */
  readonly starts: number
}

/** What a slot asks of the pool and tells it. */
export interface SlotOptions {
  readonly spawn: () => PoolWorker
  readonly now: () => number
  readonly onReady: (generation: number) => void
  readonly onMessage: (message: unknown) => void
  readonly onEnded: (end: WorkerEnd) => void
}

/** A worker that lived longer than this is no crash loop. */
const quickMs = 1000
const backoffFirstMs = 50
const backoffMaxMs = 1000

interface Life {
  readonly worker: PoolWorker
  readonly since: number
  generation: number | null
  reason: EndReason | null
  error: Error | null
  endAskedAt: number | null
  stuckReported: boolean
}

/** One slot of the pool. */
export class PoolSlot {
  readonly #options: SlotOptions
  #life: Life | null = null
  #respawn: NodeJS.Timeout | null = null
  #stopping = false
  #everReady = false
  #starts = 0
  #quickEnds = 0

  constructor(options: SlotOptions) {
    this.#options = options
  }

  /** True while the slot's worker takes exchanges. */
  get ready(): boolean {
    return this.#life !== null && this.#life.generation !== null && this.#life.reason === null
  }

  start(): void {
    this.#respawn = null
    if (this.#stopping) return
    this.#starts += 1
    const worker = this.#options.spawn()
    const life: Life = {
      worker,
      since: this.#options.now(),
      generation: null,
      reason: null,
      error: null,
      endAskedAt: null,
      stuckReported: false,
    }
    this.#life = life
    worker.on('message', (message) => this.#receive(life, message))
    worker.on('error', (error) => {
      life.reason ??= 'error'
      life.error = error instanceof Error ? error : new Error(String(error))
    })
    worker.on('exit', (code) => this.#ended(life, code))
  }

  /** False when no worker runs. */
  post(message: unknown): boolean {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
    this.#life?.worker.postMessage(message)
    return this.#life !== null
  }

  /** Ends the worker; the next one starts when it is gone. */
  end(reason: EndReason): void {
    const life = this.#life
    if (life === null || life.endAskedAt !== null) return
    life.reason ??= reason
    life.endAskedAt = this.#options.now()
    // The exit event tells of the end; a rejection would only repeat it.
    life.worker.terminate().catch(() => undefined)
  }

  /** True once, when the worker was asked to end more than `ms` ago and is still there. */
  stuckBeyond(ms: number): boolean {
    const life = this.#life
    if (life === null || life.endAskedAt === null || life.stuckReported) return false
    life.stuckReported = this.#options.now() - life.endAskedAt > ms
    return life.stuckReported
  }

  async stop(): Promise<void> {
    this.#stopping = true
    if (this.#respawn !== null) clearTimeout(this.#respawn)
    const life = this.#life
    if (life === null) return
    life.reason ??= 'stopped'
    await life.worker.terminate()
  }

  #receive(life: Life, message: unknown): void {
    const generation = readyGeneration(message)
    if (generation === null) return this.#options.onMessage(message)
    life.generation = generation
    this.#everReady = true
    this.#options.onReady(generation)
  }

  #ended(life: Life, code: number): void {
    if (this.#life !== life) return
    this.#life = null
    const aliveMs = this.#options.now() - life.since
    const respawnInMs = this.#backoff(aliveMs)
    const { generation, error } = life
    const reason = life.reason ?? 'exit'
    const readyNever = !this.#everReady
    const starts = this.#starts
    this.#options.onEnded({
      reason,
      code,
      error,
      generation,
      aliveMs,
      respawnInMs,
      readyNever,
      starts,
    })
    if (this.#stopping) return
    if (respawnInMs === 0) this.start()
    else this.#respawn = setTimeout(() => this.start(), respawnInMs)
  }

  /** 0 for the first quick end in a row, then 50, 100, 200… up to 1000 ms. */
  #backoff(aliveMs: number): number {
    if (aliveMs > quickMs) {
      this.#quickEnds = 0
      return 0
    }
    this.#quickEnds += 1
    if (this.#quickEnds === 1) return 0
    return Math.min(backoffFirstMs * 2 ** (this.#quickEnds - 2), backoffMaxMs)
  }
}

function readyGeneration(message: unknown): number | null {
  if (typeof message !== 'object' || message === null) return null
  if (!('type' in message) || message.type !== 'ready') return null
  if (!('generation' in message) || typeof message.generation !== 'number') return null
  return message.generation
}
