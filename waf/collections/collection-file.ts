/**
 * The collections' file: what the store holds, in SQLite, so that a restart remembers it. Each save
 * is one transaction: after a crash the file is as the last one left it.
 */
import { existsSync, renameSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { CollectionRecord, CollectionStore } from '../../native/addon/index.d.ts'
import { reasonOf } from '../reason-of.ts'

/** The store's part that the file needs. */
export type SavedStore = Pick<CollectionStore, 'keepChanges' | 'load' | 'takeChanges'>

/** What came of opening the file. */
export interface Opened {
  readonly file: CollectionFile
  /** Collections that were read. */
  readonly loaded: number
  /** Where a file was put that could not be read, and why; null when there was none. */
  readonly broken: { readonly path: string; readonly reason: string } | null
}

// Of the table below; a file of another layout counts as broken.
const layout = 1
// Little enough that workers never wait for the store while its changes are taken.
const batchRows = 256
// A predecessor on the same ports may be saving at this moment.
const busyMs = 2_000

/** One open file. The main thread has it alone, but for a handover. */
export class CollectionFile {
  readonly #database: DatabaseSync
  readonly #store: SavedStore
  /** The last update that this program has read or written: a later one is a successor's. */
  #newestMs: number

  private constructor(database: DatabaseSync, store: SavedStore) {
    this.#database = database
    this.#store = store
    this.#newestMs = newestIn(database)
  }

  /** Opens or makes it and fills the store. Puts a broken one aside; throws where none can be. */
  static open(path: string, store: SavedStore, nowMs: number): Opened {
    store.keepChanges()
    try {
      const database = prepared(path)
      try {
        const loaded = loadAll(database, store, nowMs)
        return { file: new CollectionFile(database, store), loaded, broken: null }
      } catch (error) {
        database.close()
        throw error
      }
    } catch (error) {
      if (!existsSync(path) || !isBroken(error)) throw error
      const aside = setAside(path, nowMs)
      const file = new CollectionFile(prepared(path), store)
      return { file, loaded: 0, broken: { path: aside, reason: reasonOf(error) } }
    }
  }

  /** Writes what has changed since the last time; how many collections that were. */
  save(): number {
    let changes = this.#store.takeChanges(batchRows)
    if (changes.length === 0) return 0
    let rows = 0
    try {
      this.#database.exec('BEGIN IMMEDIATE')
      for (; changes.length > 0; changes = this.#store.takeChanges(batchRows)) {
        this.#write(changes)
        rows += changes.length
      }
      this.#database.exec('COMMIT')
      return rows
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      // What was taken is not in the file: the next save writes everything.
      this.#store.keepChanges()
      throw error
    }
  }

  close(): void {
    this.#database.close()
  }

  #write(changes: readonly CollectionRecord[]): void {
    // A successor may have written newer rows already while this program drains.
    const upsert = this.#database.prepare(
      `INSERT INTO collections (key, record, updated, expires) VALUES (?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET record = excluded.record, updated = excluded.updated,
         expires = excluded.expires WHERE excluded.updated >= collections.updated`,
    )
    const remove = this.#database.prepare('DELETE FROM collections WHERE key = ? AND updated <= ?')
    const newestMs = this.#newestMs
    for (const { key, record, updatedMs, expiresMs } of changes) {
      // As bytes: SQLite ends a text at its first NUL, and keys come from clients.
      const name = Buffer.from(key)
      if (record === undefined) remove.run(name, newestMs)
      else upsert.run(name, record, updatedMs, expiresMs)
      this.#newestMs = Math.max(this.#newestMs, updatedMs)
    }
  }
}

function newestIn(database: DatabaseSync): number {
  const row = database.prepare('SELECT max(updated) AS newest FROM collections').get()
  return typeof row?.['newest'] === 'number' ? row['newest'] : 0
}

class LayoutError extends Error {}

function prepared(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyMs })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    const version = database.prepare('PRAGMA user_version').get()?.['user_version']
    if (version !== 0 && version !== layout) throw new LayoutError(`layout ${String(version)}`)
    database.exec(
      `CREATE TABLE IF NOT EXISTS collections (key BLOB PRIMARY KEY, record TEXT NOT NULL,
         updated INTEGER NOT NULL, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
       PRAGMA user_version = ${layout}`,
    )
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function loadAll(database: DatabaseSync, store: SavedStore, nowMs: number): number {
  const check = database.prepare('PRAGMA quick_check').get()?.['quick_check']
  if (check !== 'ok') throw new LayoutError(String(check))
  database.prepare('DELETE FROM collections WHERE expires <= ?').run(nowMs)
  let loaded = 0
  // In the order of their updates, which is that in which a full store lets go of them.
  const rows = database.prepare('SELECT key, record FROM collections ORDER BY updated')
  for (const { key, record } of rows.iterate()) {
    if (!(key instanceof Uint8Array) || typeof record !== 'string') continue
    if (store.load(Buffer.from(key).toString(), record, nowMs)) loaded += 1
  }
  return loaded
}

// SQLITE_CORRUPT and SQLITE_NOTADB: the bytes are wrong, and not the permission or the disk.
const brokenCodes: ReadonlySet<unknown> = new Set([11, 26])
const primaryCode = 0xff

function isBroken(error: unknown): boolean {
  if (error instanceof LayoutError) return true
  if (!(error instanceof Error) || !('errcode' in error)) return false
  return typeof error.errcode === 'number' && brokenCodes.has(error.errcode & primaryCode)
}

function setAside(path: string, nowMs: number): string {
  const aside = `${path}.broken-${nowMs}`
  renameSync(path, aside)
  // The journal of a broken file must not be applied to the new one.
  for (const suffix of ['-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix)
  }
  return aside
}
