/** How many requests may be sent once more: a share of all, so that retries never double a load. */

export interface RetryOptions {
  readonly enabled: boolean
  readonly budgetPercent: number
  /** Retries per second that are allowed however few requests there are. */
  readonly budgetMin: number
}

const windowSeconds = 10

/** Counts the last ten seconds, second by second. Time is an argument. */
export class RetryBudget {
  readonly #options: RetryOptions
  readonly #requests = new Uint32Array(windowSeconds)
  readonly #retries = new Uint32Array(windowSeconds)
  #second = 0
  #requestsNow = 0
  #retriesNow = 0

  constructor(options: RetryOptions) {
    this.#options = options
  }

  /** Counts a request; whether it may be sent once more. */
  request(nowMs: number): boolean {
    const slot = this.#advance(nowMs)
    this.#requests[slot] = (this.#requests[slot] ?? 0) + 1
    this.#requestsNow += 1
    if (!this.#options.enabled) return false
    const { budgetPercent, budgetMin } = this.#options
    const allowed = Math.max((this.#requestsNow * budgetPercent) / 100, budgetMin * windowSeconds)
    return this.#retriesNow < allowed
  }

  /** Counts a request that was sent once more. */
  retried(nowMs: number): void {
    const slot = this.#advance(nowMs)
    this.#retries[slot] = (this.#retries[slot] ?? 0) + 1
    this.#retriesNow += 1
  }

  /** Empties the seconds that are over; the slot of this one. */
  #advance(nowMs: number): number {
    const second = Math.floor(nowMs / 1_000)
    const steps = Math.min(second - this.#second, windowSeconds)
    for (let step = 1; step <= steps; step += 1) {
      const slot = (this.#second + step) % windowSeconds
      this.#requestsNow -= this.#requests[slot] ?? 0
      this.#retriesNow -= this.#retries[slot] ?? 0
      this.#requests[slot] = 0
      this.#retries[slot] = 0
    }
    if (second > this.#second) this.#second = second
    return this.#second % windowSeconds
  }
}
