/** The newest events in memory: bounded in number and bytes, so that an attack cannot fill it. */
import { type EventPage, type EventQuery, type EventSource, isWanted } from './event.ts'
import type { StoredEvent } from './event.ts'

/** Bounds of the ring. */
export interface RingLimits {
  readonly memoryCountMax: number
  readonly memoryBytesMax: number
}

/** What an event costs beside its JSON. */
const overheadBytes = 256

interface Placed {
  readonly place: number
  readonly event: StoredEvent
}

/** The ring. Places only grow, so that a page can go on where the last one ended. */
export class EventRing implements EventSource {
  readonly #limits: RingLimits
  #events: Placed[] = []
  /** How many at the front of `#events` are let go; cut seldom, since that moves all of it. */
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
      this.#events.push({ place: this.#place, event })
      this.#bytes += sizeOf(event)
    }
    const { memoryCountMax, memoryBytesMax } = this.#limits
    while (this.count > memoryCountMax || (this.#bytes > memoryBytesMax && this.count > 0)) {
      const oldest = this.#events[this.#gone]
      if (oldest !== undefined) this.#bytes -= sizeOf(oldest.event)
      this.#gone += 1
    }
    if (this.#gone > memoryCountMax) {
      this.#events = this.#events.slice(this.#gone)
      this.#gone = 0
    }
  }

  find(requestId: string): string | null {
    for (let index = this.#events.length - 1; index >= this.#gone; index -= 1) {
      const event = this.#events[index]?.event
      if (event?.requestId === requestId) return event.json
    }
    return null
  }

  list(query: EventQuery): EventPage {
    const events: string[] = []
    let last = 0
    for (let index = this.#events.length - 1; index >= this.#gone; index -= 1) {
      const placed = this.#events[index]
      if (placed === undefined || placed.place >= (query.before ?? Infinity)) continue
      if (!isWanted(placed.event, query)) continue
      // One more than asked for: so there is a next page.
      if (events.length === query.limit) return { events, next: last }
      events.push(placed.event.json)
      last = placed.place
    }
    return { events, next: null }
  }
}

/** Two bytes a character: what V8 takes at most. */
function sizeOf({ json, path }: StoredEvent): number {
  return overheadBytes + 2 * (json.length + path.length)
}
