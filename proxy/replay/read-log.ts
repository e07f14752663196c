/** Reads a log of any known format, piece by piece. */
import { createReadStream, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { ConfigError } from '../config/faults.ts'
import { isCommonLog, readCommonLog } from './common-log.ts'
import type { LineReader, ReplayLine } from './entry.ts'
import { readHar } from './har.ts'
import { jsonKindOf, jsonOf, readAccessLine, readAuditLine, readTransaction } from './json-lines.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** What a log may be. */
export type LogFormat = 'common' | 'access' | 'audit' | 'har'

/** Bounds on what is read; each has the name by which a fault calls it. */
export interface LogLimits {
  /** A longer line is not read, and counted. */
  readonly lineBytesMax: number
  /** Later entries are not read. */
  readonly entriesMax: number
  /** HAR is one document and must be read whole; so is an audit log with line breaks in it. */
  readonly documentBytesMax: number
}

/** Far beyond a day of a busy server, and within what a machine has. */
export const defaultLogLimits: LogLimits = {
  lineBytesMax: 1024 * 1024,
  entriesMax: 50_000_000,
  documentBytesMax: 256 * 1024 * 1024,
}

const lineReaders: Readonly<Record<Exclude<LogFormat, 'har'>, LineReader>> = {
  common: readCommonLog,
  access: readAccessLine,
  audit: readAuditLine,
}

const overLong = Symbol('a line over lineBytesMax')
type Line = string | typeof overLong

/** An open log: its format, and what it holds. */
export interface OpenLog {
  readonly format: LogFormat
  readonly entries: AsyncIterable<ReplayLine>
}

/** Finds out the format from the first line; throws a `ConfigError` when there is none. */
export async function openLog(file: string, limits: LogLimits): Promise<OpenLog> {
  const lines = linesOf(file, limits.lineBytesMax)
  const head: Line[] = []
  try {
    for (;;) {
      const next = await lines.next()
      if (next.done === true) break
      head.push(next.value)
      const format = typeof next.value === 'string' ? formatOf(next.value) : null
      if (format !== null) return { format, entries: entriesOf(head, lines, format, limits) }
      if (head.length === headLinesMax) break
    }
  } catch (error) {
    throw unreadable(file, reasonOf(error))
  }
  await lines.return(undefined)
  const document = await documentOf(file, limits)
  const archived = readHar(document)
  if (archived !== null) return { format: 'har', entries: iterated(archived) }
  const transactions = [document].flat()
  if (transactions.some((one) => jsonKindOf(one) === 'audit')) {
    const entries = transactions.map((one, index) => readTransaction(one, index + 1))
    return { format: 'audit', entries: iterated(entries) }
  }
  throw unreadable(file, 'is neither an access log, HAR nor a ModSecurity v3 audit log in JSON')
}

/** Lines that are looked at before a file counts as unknown. */
const headLinesMax = 20

function unreadable(file: string, message: string): ConfigError {
  const mend =
    "name an access log (common, combined, edge's own), a HAR file or an audit log in JSON"
  return new ConfigError([{ where: file, message, mend }])
}

function formatOf(line: string): Exclude<LogFormat, 'har'> | null {
  if (isCommonLog(line)) return 'common'
  return line.startsWith('{') ? jsonKindOf(jsonOf(line)) : null
}

async function* entriesOf(
  head: readonly Line[],
  lines: AsyncGenerator<Line>,
  format: Exclude<LogFormat, 'har'>,
  limits: LogLimits,
): AsyncGenerator<ReplayLine> {
  const read = lineReaders[format]
  let line = 0
  const entry = (text: Line): ReplayLine => {
    line += 1
    if (text === overLong) return { line, reason: `is over lineBytesMax (${limits.lineBytesMax})` }
    return text.trim() === '' ? null : read(text, line)
  }
  for (const text of head) yield entry(text)
  for await (const text of lines) {
    if (line >= limits.entriesMax) {
      yield { line: line + 1, reason: `is beyond entriesMax (${limits.entriesMax})` }
      return
    }
    yield entry(text)
  }
}

/** The whole file as one JSON document; null when it is none. */
async function documentOf(file: string, limits: LogLimits): Promise<unknown> {
  const { size } = statSync(file)
  if (size > limits.documentBytesMax) {
    throw unreadable(file, `is over documentBytesMax (${limits.documentBytesMax})`)
  }
  const text = await readFile(file, 'utf8')
  // A byte order mark is what some tools begin with.
  return jsonOf(text.replace(/^\uFEFF/, ''))
}

async function* iterated(entries: readonly ReplayLine[]): AsyncGenerator<ReplayLine> {
  yield* entries
}

/**
 * The lines of a file. Latin-1 but for JSON: a character for each byte, as the engine wants it;
 * JSON is UTF-8 and says so in its readers.
 */
async function* linesOf(file: string, lineBytesMax: number): AsyncGenerator<Line> {
  let held: Buffer[] = []
  let heldBytes = 0
  let isOver = false
  const take = (): Line => {
    const bytes = Buffer.concat(held)
    const over = isOver
    held = []
    heldBytes = 0
    isOver = false
    return over ? overLong : textOf(bytes)
  }
  const hold = (piece: Buffer): void => {
    isOver ||= heldBytes + piece.length > lineBytesMax
    if (isOver) return
    held.push(piece)
    heldBytes += piece.length
  }
  for await (const chunk of createReadStream(file)) {
    let rest: Buffer = chunk
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      hold(rest.subarray(0, end))
      yield take()
      rest = rest.subarray(end + 1)
    }
    if (rest.length > 0) hold(Buffer.from(rest))
  }
  if (heldBytes > 0 || isOver) yield take()
}

function textOf(bytes: Buffer): string {
  const end = bytes.at(-1) === 13 ? bytes.length - 1 : bytes.length
  return bytes[0] === 0x7b ? bytes.toString('utf8', 0, end) : bytes.toString('latin1', 0, end)
}
