/** Where `edge explain` finds an event: the admin API, the event file, an audit log. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { ask, Unreachable } from '../admin/ask.ts'
import { auditEvent } from '../events/audit-event.ts'
import { type ReadEvent, readEvent } from '../events/event-json.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** Asks the admin API at `ADDR:PORT` or `unix:PATH`; null when it knows no such request. */
export async function fromAdmin(address: string, requestId: string): Promise<ReadEvent | null> {
  const path = `/events/${encodeURIComponent(requestId)}`
  const { status, body } = await ask(address, path)
  if (status === 404) return null
  if (status !== 200) throw new Unreachable(`the admin API at ${address} answered ${status}`)
  return readEvent(body)
}

/** Reads the event store's file, or an audit log in JSON lines. */
export async function fromFile(path: string, requestId: string): Promise<ReadEvent | null> {
  try {
    return (await isDatabase(path))
      ? await fromDatabase(path, requestId)
      : await fromAuditLog(path, requestId)
  } catch (error) {
    throw new Unreachable(`${path}: ${reasonOf(error)}`, { cause: error })
  }
}

async function isDatabase(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(16), 0, 16, 0)
    return buffer.toString('latin1') === 'SQLite format 3\0'
  } finally {
    await file.close()
  }
}

async function fromDatabase(path: string, requestId: string): Promise<ReadEvent | null> {
  const { EventDatabase } = await import('../events/database.ts')
  const database = new EventDatabase(path, { readOnly: true })
  try {
    const json = database.find(requestId)
    return json === null ? null : readEvent(json)
  } finally {
    database.close()
  }
}

async function fromAuditLog(path: string, requestId: string): Promise<ReadEvent | null> {
  let found: ReadEvent | null = null
  const lines = createInterface({ input: createReadStream(path, 'utf8') })
  for await (const line of lines) found = auditEvent(line, requestId) ?? found
  return found
}
