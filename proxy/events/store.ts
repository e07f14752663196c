/** The event store of the main thread: a ring in memory and, where one is named, a file. */
import type { EventsConfig } from '../config/events-schema.ts'
import { ConfigError } from '../config/faults.ts'
import type { Logger } from '../log.ts'
import { EventDatabase } from './database.ts'
import type { EventPage, EventQuery, EventSource, StoredEvent } from './event.ts'
import { EventRing } from './ring.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** What the store needs of its surroundings. */
export interface StoreOptions {
  readonly log: Pick<Logger, 'error'>
  readonly nowMs: () => number
}

/** How often what is too old is looked for, and events that wait are written. */
const retainMs = 60_000
const writeMs = 1_000
/** Events that wait for a file that cannot be written. */
const waitingMax = 10_000

/** Takes events in, answers for them, and writes them from time to time. */
export class EventStore implements EventSource {
  readonly #ring: EventRing
  readonly #database: EventDatabase | null
  readonly #config: EventsConfig
  readonly #options: StoreOptions
  readonly #timers: NodeJS.Timeout[] = []
  #waiting: StoredEvent[] = []
  #lost = 0
  #fails = false

  /** Opens the file, when there is one; throws a `ConfigError` when that fails. */
  constructor(config: EventsConfig, options: StoreOptions) {
    this.#ring = new EventRing(config)
    this.#config = config
    this.#options = options
    this.#database = config.file === null ? null : open(config.file)
    if (this.#database === null) return
    this.#retain()
    for (const [run, ms] of [
      [() => this.#write(), writeMs],
      [() => this.#retain(), retainMs],
    ] as const) {
      this.#timers.push(setInterval(run, ms).unref())
    }
  }

  /** Numbers for the metrics. */
  get numbers(): { readonly count: number; readonly bytes: number; readonly lost: number } {
    return { count: this.#ring.count, bytes: this.#ring.bytes, lost: this.#lost }
  }

  add(events: readonly StoredEvent[]): void {
    this.#ring.add(events)
    if (this.#database === null) return
    this.#waiting.push(...events)
    const over = this.#waiting.length - waitingMax
    if (over <= 0) return
    this.#lost += over
    this.#waiting = this.#waiting.slice(over)
  }

  find(requestId: string): string | null {
    return this.#ring.find(requestId) ?? this.#read((database) => database.find(requestId))
  }

  /** From the file, where there is one: places in it and in the ring are not the same. */
  list(query: EventQuery): EventPage {
    this.#write()
    return this.#read((database) => database.list(query)) ?? this.#ring.list(query)
  }

  /** Writes what waits, and closes the file. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#write()
    this.#database?.close()
  }

  #read<Result>(read: (database: EventDatabase) => Result): Result | null {
    if (this.#database === null) return null
    try {
      return read(this.#database)
    } catch (error) {
      this.#failed(error)
      return null
    }
  }

  #write(): void {
    if (this.#database === null || this.#waiting.length === 0) return
    try {
      this.#database.add(this.#waiting)
      this.#waiting = []
      this.#fails = false
    } catch (error) {
      this.#failed(error)
    }
  }

  #retain(): void {
    const { fileCountMax: countMax, fileDaysMax: daysMax } = this.#config
    this.#read((database) => database.retain({ countMax, daysMax }, this.#options.nowMs()))
  }

  /** A full disk is told once, and not with every batch. */
  #failed(error: unknown): void {
    if (this.#fails) return
    this.#fails = true
    this.#options.log.error({ err: error }, 'events cannot be written to their file')
  }
}

function open(file: string): EventDatabase {
  try {
    return new EventDatabase(file)
  } catch (error) {
    const message = reasonOf(error)
    const mend = 'name a file that this user can write, in a folder that exists'
    throw new ConfigError([{ where: 'waf.events.file', message: `${file}: ${message}`, mend }])
  }
}
