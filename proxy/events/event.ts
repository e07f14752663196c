/** One exchange worth telling about, as it is kept and as it is asked for. */

/** What an event is found by. */
export interface EventMarks {
  readonly requestId: string
  readonly timeMs: number
  readonly path: string
  /** Whether the client got a refusal for it. */
  readonly blocked: boolean
  readonly rules: readonly number[]
}

/** An event with what it is found by. */
export interface StoredEvent extends EventMarks {
  /** The event itself, as the admin API serves it. */
  readonly json: string
}

/** What is asked for; null: anything. */
export interface EventQuery {
  readonly limit: number
  readonly rule: number | null
  /** The path begins so. */
  readonly path: string | null
  readonly sinceMs: number | null
  readonly blocked: boolean | null
  /** Only events older than this place: the `next` of the page before. */
  readonly before: number | null
}

/** The newest events first. */
export interface EventPage {
  readonly events: readonly string[]
  /** Where the next page begins; null when this is the last. */
  readonly next: number | null
}

/** Where events are looked for. */
export interface EventSource {
  /** The JSON of the event of that request; the newest when there are several. */
  find(requestId: string): string | null
  list(query: EventQuery): EventPage
}

/** Whether an event is one of those asked for; its place is not judged here. */
export function isWanted(event: EventMarks, query: EventQuery): boolean {
  const { rule, path, sinceMs, blocked } = query
  return (
    (rule === null || event.rules.includes(rule)) &&
    (path === null || event.path.startsWith(path)) &&
    (sinceMs === null || event.timeMs >= sinceMs) &&
    (blocked === null || event.blocked === blocked)
  )
}
