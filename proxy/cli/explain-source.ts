/** Where `edge explain` finds an event: the admin API, the event file, an audit log. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import { auditEvent } from '../events/audit-event.ts'
import { type ReadEvent, readEvent } from '../events/event-json.ts'

/** An event cannot be looked for: nobody answers, or the file cannot be read. */
export class Unreachable extends Error {}

const timeoutMs = 10_000
const answerBytesMax = 16 * 1024 * 1024

/** Asks the admin API at `ADDR:PORT` or `unix:PATH`; null when it knows no such request. */
export async function fromAdmin(address: string, requestId: string): Promise<ReadEvent | null> {
  const path = `/events/${encodeURIComponent(requestId)}`
  const { status, body } = await get(address, path)
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

function get(
  address: string,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>()
  const fail = (error: unknown): void =>
    reject(new Unreachable(`the admin API at ${address}: ${reasonOf(error)}`, { cause: error }))
  const signal = AbortSignal.timeout(timeoutMs)
  const sent = request({ ...targetOf(address), path, signal }, (response) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > answerBytesMax) response.destroy(new Error('the answer is too long'))
      else chunks.push(chunk)
    })
    response.on('error', fail)
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
    )
  })
  sent.on('error', fail)
  sent.end()
  return promise
}

function targetOf(address: string): { socketPath: string } | { host: string; port: number } {
  if (address.startsWith('unix:')) return { socketPath: address.slice('unix:'.length) }
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, Math.max(colon, 0)).replace(/^\[(.*)\]$/, '$1')
  return { host: host === '' ? '127.0.0.1' : host, port: Number(address.slice(colon + 1)) }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
