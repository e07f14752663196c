/** Events in a SQLite file: they outlive the program. Written in batches, off the data path. */
import { DatabaseSync } from 'node:sqlite'
import type { EventPage, EventQuery, EventSource, StoredEvent } from './event.ts'

/** How long events are kept. */
export interface Retention {
  readonly countMax: number
  readonly daysMax: number
}

const dayMs = 86_400_000
/** For a program that takes over and one that leaves: both have the file open. */
const busyMs = 250
/** The schema's number; a file of another one is refused. */
const version = 1

const tables = `
  CREATE TABLE IF NOT EXISTS events (
    place INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, time_ms INTEGER NOT NULL,
    path TEXT NOT NULL, blocked INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS events_by_request ON events (request_id);
  CREATE INDEX IF NOT EXISTS events_by_time ON events (time_ms);
  CREATE TABLE IF NOT EXISTS event_rules (
    rule INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (rule, place)) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS event_rules_by_place ON event_rules (place);
  PRAGMA user_version = ${version}`

/** One file. Its methods throw what SQLite throws. */
export class EventDatabase implements EventSource {
  readonly #database: DatabaseSync

  /** Opens the file, or makes it when it may be written. */
  constructor(path: string, { readOnly = false } = {}) {
    this.#database = new DatabaseSync(path, { readOnly, timeout: busyMs })
    try {
      this.#check(path)
      if (readOnly) return
      // With a log beside the file readers and the writer do not wait for each other.
      this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;')
      this.#database.exec(tables)
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  /** Adds all or none. */
  add(events: readonly StoredEvent[]): void {
    this.#transaction(() => {
      const insert = this.#database.prepare(
        'INSERT INTO events (request_id, time_ms, path, blocked, json) VALUES (?, ?, ?, ?, ?)',
      )
      const mark = this.#database.prepare(
        'INSERT OR IGNORE INTO event_rules (rule, place) VALUES (?, ?)',
      )
      for (const { requestId, timeMs, path, blocked, rules, json } of events) {
        const { lastInsertRowid } = insert.run(requestId, timeMs, path, blocked ? 1 : 0, json)
        for (const rule of rules) mark.run(rule, lastInsertRowid)
      }
    })
  }

  /** Deletes what is too old or too much. */
  retain({ countMax, daysMax }: Retention, nowMs: number): void {
    this.#transaction(() => {
      const expire = this.#database.prepare('DELETE FROM events WHERE time_ms < ?')
      expire.run(nowMs - daysMax * dayMs)
      this.#database
        .prepare(
          `DELETE FROM events WHERE place <=
             (SELECT place FROM events ORDER BY place DESC LIMIT 1 OFFSET ?)`,
        )
        .run(countMax)
      this.#database
        .prepare('DELETE FROM event_rules WHERE place NOT IN (SELECT place FROM events)')
        .run()
    })
  }

  find(requestId: string): string | null {
    const row = this.#database
      .prepare('SELECT json FROM events WHERE request_id = ? ORDER BY place DESC LIMIT 1')
      .get(requestId)
    return row === undefined ? null : String(row['json'])
  }

  list(query: EventQuery): EventPage {
    const { limit, rule, path, sinceMs, blocked, before } = query
    const conditions: string[] = []
    const values: (string | number)[] = []
    const where = (condition: string, value: string | number | null): void => {
      if (value === null) return
      conditions.push(condition)
      values.push(value)
    }
    where('place < ?', before)
    where('time_ms >= ?', sinceMs)
    where('blocked = ?', blocked === null ? null : blocked ? 1 : 0)
    where('place IN (SELECT place FROM event_rules WHERE rule = ?)', rule)
    if (path !== null) {
      conditions.push('substr(path, 1, ?) = ?')
      values.push(path.length, path)
    }
    const condition = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
    const rows = this.#database
      .prepare(`SELECT place, json FROM events ${condition} ORDER BY place DESC LIMIT ?`)
      .all(...values, limit + 1)
    const page = rows.slice(0, limit)
    const next = rows.length > limit ? Number(page.at(-1)?.['place'] ?? 0) : null
    return { events: page.map((row) => String(row['json'])), next }
  }

  close(): void {
    this.#database.close()
  }

  #check(path: string): void {
    const found = Number(this.#database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
    if (found !== 0 && found !== version) {
      throw new Error(`${path} is an event store of version ${found}, not ${version}`)
    }
  }

  #transaction(run: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      run()
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }
}
