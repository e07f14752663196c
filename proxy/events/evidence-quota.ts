/** Evidence costs more than the event: an attack must not make the workers busy with it. */

const secondMs = 1_000

/** So many in a second that begins with the first. */
export class EvidenceQuota {
  readonly #perSecondMax: number
  readonly #clock: () => number
  #since = -Infinity
  #count = 0

  constructor(perSecondMax: number, clock: () => number) {
    this.#perSecondMax = perSecondMax
    this.#clock = clock
  }

  /** Takes one; false when there is none left. */
  take(): boolean {
    const now = this.#clock()
    if (now - this.#since >= secondMs) {
      this.#since = now
      this.#count = 0
    }
    if (this.#count >= this.#perSecondMax) return false
    this.#count += 1
    return true
  }
}
