/** Waits that grow with each failure, and differ, so that many programs do not come together. */

const leastMs = 200
const mostMs = 30_000
/** What ran for this long was no failure at its start. */
const steadyMs = 10_000

/** The waits of one thing that is tried again and again. */
export class Backoff {
  #failures = 0
  readonly #random: () => number

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** It ran for this long: the next wait is short again when that was long. */
  lasted(tookMs: number): void {
    if (tookMs >= steadyMs) this.reset()
  }

  /** How long to wait now. */
  nextMs(): number {
    const most = Math.min(leastMs * 2 ** this.#failures, mostMs)
    this.#failures = Math.min(this.#failures + 1, 20)
    return most / 2 + (most / 2) * this.#random()
  }

  /** All is well: the next wait is the shortest. */
  reset(): void {
    this.#failures = 0
  }
}
