/** One request of a log, however the log spells it. */
import type { Headers, OfflineRequest } from '../../waf/offline/engine.ts'

/** A request that a log tells of, and where. */
export interface ReplayEntry {
  /** Line in the file; for HAR the number of the entry. From 1. */
  readonly line: number
  readonly request: OfflineRequest
}

/** What could not be read. */
export interface ReplayFault {
  readonly line: number
  readonly reason: string
}

/** What reading a line gives: nothing for a line that is none of its business. */
export type ReplayLine = ReplayEntry | ReplayFault | null

/** Reads one line. */
export type LineReader = (text: string, line: number) => ReplayLine

/** JavaScript text as the engine wants it: a character for each byte of its UTF-8. */
export function latin1Of(text: string): string {
  return /^[\0-\x7f]*$/.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1')
}

/** Methods whose requests come with a body as a rule, or with a Content-Length of 0. */
const withBody = new Set(['POST', 'PUT', 'PATCH'])

/**
 * What every client sends and an access log leaves out: without these fields the rules would see a
 * broken client in each line.
 */
export function completed(method: string, known: Headers): Headers {
  const has = (name: string): boolean => known.some(([own]) => own.toLowerCase() === name)
  const headers: [string, string][] = []
  if (!has('host')) headers.push(['Host', 'localhost'])
  headers.push(...known.map(([name, value]): [string, string] => [name, value]))
  if (!has('accept')) headers.push(['Accept', '*/*'])
  if (withBody.has(method) && !has('content-length')) headers.push(['Content-Length', '0'])
  return headers
}

/** `HTTP/1.1` of `1.1`, `2.0`, `HTTP/2`, `h2`…; HTTP/1.1 where nothing is known. */
export function protocolOf(text: string): string {
  const version = /([0-3])(?:\.([0-9]))?$/.exec(text.trim())
  if (version === null) return 'HTTP/1.1'
  const [, major = '1', minor] = version
  return `HTTP/${major}.${minor ?? (major === '1' ? '1' : '0')}`
}
