/** When an endpoint is used: what its probes and its failures add up to. Time is an argument. */

/** How many probes decide. */
export interface ProbeRules {
  readonly healthyAfter: number
  readonly unhealthyAfter: number
}

/** The results of one endpoint's probes. */
export class ProbeHistory {
  #isHealthy = true
  #known = false
  /** Results in a row that contradict the present state. */
  #against = 0

  /** True until a probe says otherwise: traffic does not wait for the first one. */
  get isHealthy(): boolean {
    return this.#isHealthy
  }

  /** Counts a result; whether the state changed. The very first one decides alone. */
  record(ok: boolean, { healthyAfter, unhealthyAfter }: ProbeRules): boolean {
    const isFirst = !this.#known
    this.#known = true
    if (ok === this.#isHealthy) {
      this.#against = 0
      return false
    }
    this.#against += 1
    if (!isFirst && this.#against < (ok ? healthyAfter : unhealthyAfter)) return false
    this.#against = 0
    this.#isHealthy = ok
    return true
  }
}

/** How long ejections last. */
export interface EjectionRules {
  readonly timeMs: number
  readonly timeMaxMs: number
}

/** The ejections of one endpoint. */
export class EjectionHistory {
  #untilMs: number | null = null
  #returnedAtMs = -Infinity
  #lastMs = 0
  #inRow = 0
  /** All since start. */
  count = 0

  get isEjected(): boolean {
    return this.#untilMs !== null
  }

  /**
   * Ejects it; how long. Each time in a row lasts twice as long; a row ends when the endpoint kept
   * up for as long as it was last away.
   */
  eject(nowMs: number, { timeMs, timeMaxMs }: EjectionRules): number {
    const isRow = nowMs - this.#returnedAtMs < this.#lastMs
    this.#inRow = isRow ? this.#inRow + 1 : 0
    this.#lastMs = Math.min(timeMs * 2 ** Math.min(this.#inRow, 30), Math.max(timeMs, timeMaxMs))
    this.#untilMs = nowMs + this.#lastMs
    this.count += 1
    return this.#lastMs
  }

  /** It is tried again; false when it was not away. */
  release(nowMs: number): boolean {
    if (this.#untilMs === null) return false
    this.#untilMs = null
    this.#returnedAtMs = nowMs
    return true
  }
}

/** Whether one more of `total` may be ejected: of two or more always one, and never the last. */
export function mayEject(total: number, ejected: number, maxPercent: number): boolean {
  if (maxPercent === 0) return false
  const most = Math.max(1, Math.floor((total * maxPercent) / 100))
  return ejected < Math.min(most, total - 1)
}
