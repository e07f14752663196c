/** The newest events in memory: bounded in number and bytes, so that an attack cannot fill it. */
import { isWanted } from './event.ts'
import type { EventMarks, EventPage, EventQuery, EventSource, StoredEvent } from './event.ts'

/** Bounds of the ring. */
export interface RingLimits {
  readonly memoryCountMax: number
  readonly memoryBytesMax: number
}

/** What an event costs beside its JSON. */
const overheadBytes = 256

/** The text is outside V8's heap, which keeps room beyond what it holds. */
interface Placed {
  readonly place: number
  readonly event: EventMarks
  readonly json: Buffer
  readonly bytes: number
}

/** The ring. Places only grow, so that a page can go on where the last one ended. */
export class EventRing implements EventSource {
  readonly #limits: RingLimits
  #events: (Placed | null)[] = []
  /** How many at the front of `#events` are null; cut seldom, since that moves all of it. */
  #gone = 0
  #bytes = 0
  #place = 0

  constructor(limits: RingLimits) {
    this.#limits = limits
  }

  /** Events held now. */
  get count(): number {
    return this.#events.length - this.#gone
  }

  /** Bytes they take, about. */
  get bytes(): number {
    return this.#bytes
  }

  add(events: readonly StoredEvent[]): void {
    for (const event of events) {
      this.#place += 1
      const placed = placeAt(this.#place, event)
      this.#events.push(placed)
      this.#bytes += placed.bytes
    }
    const { memoryCountMax, memoryBytesMax } = this.#limits
    while (this.count > memoryCountMax || (this.#bytes > memoryBytesMax && this.count > 0)) {
      const oldest = this.#events[this.#gone] ?? null
      this.#bytes -= oldest?.bytes ?? 0
      this.#events[this.#gone] = null
      this.#gone += 1
    }
    if (this.#gone > memoryCountMax) {
      this.#events = this.#events.slice(this.#gone)
      this.#gone = 0
    }
  }

  find(requestId: string): string | null {
    for (let index = this.#events.length - 1; index >= this.#gone; index -= 1) {
      const placed = this.#events[index] ?? null
      if (placed?.event.requestId === requestId) return placed.json.toString()
    }
    return null
  }

  list(query: EventQuery): EventPage {
    const events: string[] = []
    let last = 0
    for (let index = this.#events.length - 1; index >= this.#gone; index -= 1) {
      const placed = this.#events[index] ?? null
      if (placed === null || placed.place >= (query.before ?? Infinity)) continue
      if (!isWanted(placed.event, query)) continue
      // One more than asked for: so there is a next page.
      if (events.length === query.limit) return { events, next: last }
      events.push(placed.json.toString())
      last = placed.place
    }
    return { events, next: null }
  }
}

function placeAt(place: number, { json: text, ...event }: StoredEvent): Placed {
  const json = Buffer.from(text)
  return { place, event, json, bytes: overheadBytes + json.length + event.path.length }
}
