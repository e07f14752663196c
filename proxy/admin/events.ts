/** The newest exchanges that were blocked or failed, for people who ask why. */
import { type AccessEntry, redactQuery } from '../access-log.ts'

/** What an event tells; no header but the user agent, no body. */
export type EdgeEvent = AccessEntry

/** Whether an exchange is worth an event. */
export function isEvent(entry: AccessEntry): boolean {
  return entry.error !== null || (entry.waf !== null && entry.waf.verdict !== 'pass')
}

/** An entry without secrets in its query. */
export function eventOf(entry: AccessEntry): EdgeEvent {
  return { ...entry, query: redactQuery(entry.query) }
}

/** A ring: an attack cannot fill the memory. */
export class EventRing {
  readonly #capacity: number
  #events: EdgeEvent[] = []

  constructor(capacity = 1_000) {
    this.#capacity = capacity
  }

  add(events: readonly EdgeEvent[]): void {
    this.#events.push(...events)
    // Cut seldom: moving a whole array for each event would cost more than it keeps.
    if (this.#events.length > 2 * this.#capacity) this.#events = this.#newest(this.#capacity)
  }

  /** The newest first. */
  newest(limit: number): EdgeEvent[] {
    return this.#newest(Math.min(limit, this.#capacity)).toReversed()
  }

  #newest(count: number): EdgeEvent[] {
    return count === 0 ? [] : this.#events.slice(-count)
  }
}
