/** The coordinator's file: its tables, and the way there from older ones. */
import { DatabaseSync } from 'node:sqlite'
import { reasonOf } from '../../waf/reason-of.ts'
import { MeshFault } from '../fault.ts'

/** A `token` beside the running coordinator, or the coordinator beside it. */
const busyMs = 2_000

const tables = `
  CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, uses_left INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, labels TEXT NOT NULL, cidrs TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS nodes (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE,
    entry TEXT NOT NULL, labels TEXT NOT NULL, cidrs TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS changes (
    version INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL UNIQUE) STRICT;`

/** Each leads from its place in the list to the next. */
const steps: readonly string[] = [
  tables,
  // A leaf that left was one, too. What a node was let in with: seed 000's devices show it again.
  `ALTER TABLE changes ADD COLUMN leaf INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE nodes ADD COLUMN token TEXT NOT NULL DEFAULT '';
   ALTER TABLE nodes ADD COLUMN platform TEXT NOT NULL DEFAULT '';
   CREATE TABLE revoked (id TEXT PRIMARY KEY, name TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;`,
]

/** Opens a file, and makes its tables the newest ones. */
export function openDatabase(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: busyMs })
  try {
    bringUpToDate(database, file)
    return database
  } catch (error) {
    database.close()
    throw error instanceof MeshFault ? error : faultOf(error, file)
  }
}

function bringUpToDate(database: DatabaseSync, file: string): void {
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;')
  const version = (): number =>
    Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
  if (version() > steps.length) {
    throw new MeshFault('STATE_NEWER', {
      where: file,
      message: 'a newer version of this program wrote it',
      mend: 'use that version, or restore an older file',
    })
  }
  // Two programs may begin with one file at once: the second one finds nothing left to do.
  database.exec('BEGIN IMMEDIATE')
  for (const step of steps.slice(version())) database.exec(step)
  database.exec(`PRAGMA user_version = ${steps.length}; COMMIT`)
}

/** The primary result codes of SQLite that people can do something about. */
const mends: Readonly<Record<number, string>> = {
  5: 'another program writes to it: wait until it is done',
  8: "run it as the file's owner",
  13: 'make room on its disk',
  14: "run it as the file's owner",
}

function faultOf(error: unknown, where: string): MeshFault {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
  const message = reasonOf(error)
  const mend = mends[code] ?? 'restore it from a backup; without it every node has to join anew'
  return new MeshFault('STATE_INVALID', { where, message, mend })
}
