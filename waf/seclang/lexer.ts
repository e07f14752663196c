/**
 * Text → statements → words. A file is read as Latin-1, so that one character is one byte and a
 * pattern with bytes above 0x7f stays what its author wrote.
 */
import type { Report } from './faults.ts'

/** One directive with its continuation lines joined. */
export interface Statement {
  /** 1-based line on which it begins. */
  readonly line: number
  readonly text: string
  /** Offsets in `text` at which its lines begin. */
  readonly lineStarts: readonly number[]
}

/** A directive's name and its arguments. */
export interface Words {
  readonly directive: string
  readonly words: readonly Word[]
}

/** One argument, unquoted. */
export interface Word {
  readonly text: string
  /** Offset in the statement of the first character of `text`. */
  readonly start: number
  /** Offset in the statement behind the word and its quotes. */
  readonly end: number
  /** Offsets in `text` before which a backslash was taken away. */
  readonly escapes: readonly number[]
}

const BYTE_ORDER_MARK = '\xef\xbb\xbf'

/**
 * Splits a file into statements. A comment never continues on the next line: a rule that is only
 * half commented out is a fault then, instead of a rule silently gone.
 */
export function statements(file: string): Statement[] {
  const body = file.startsWith(BYTE_ORDER_MARK) ? file.slice(BYTE_ORDER_MARK.length) : file
  const found: Statement[] = []
  let text = ''
  let lineStarts: number[] = []
  let line = 1
  const end = (): void => {
    if (lineStarts.length > 0) found.push({ line, text: text.trimEnd(), lineStarts })
    text = ''
    lineStarts = []
  }
  for (const [index, written] of body.split(/\r?\n/).entries()) {
    if (lineStarts.length === 0 && /^\s*(?:#|$)/.test(written)) continue
    if (lineStarts.length === 0) line = index + 1
    lineStarts.push(text.length)
    const continued = continuation(written)
    text += continued ?? written
    if (continued === null) end()
  }
  end()
  return found
}

/** Line and column, both 1-based, of an offset in the statement. */
export function positionOf(
  statement: Statement,
  offset: number,
): { readonly line: number; readonly column: number } {
  const index = statement.lineStarts.findLastIndex((start) => start <= offset)
  const start = statement.lineStarts[index] ?? 0
  return { line: statement.line + Math.max(index, 0), column: offset - start + 1 }
}

/** The offset in the statement of an offset in the word. */
export function offsetOf(word: Word, at: number): number {
  return word.start + at + word.escapes.filter((escape) => escape <= at).length
}

/** The line without its final backslash, or null when the statement ends here. */
function continuation(line: string): string | null {
  let end = line.length
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end -= 1
  let begin = end
  while (begin > 0 && line[begin - 1] === '\\') begin -= 1
  // `\\` at the end is a backslash that is meant, as in Apache's reader.
  return (end - begin) % 2 === 1 ? line.slice(0, end - 1) : null
}

/** Splits a statement into its directive and arguments; null after a report. */
export function words(statement: Statement, report: Report): Words | null {
  const head = /^\s*(\S+)\s*/.exec(statement.text)
  const directive = head?.[1] ?? ''
  const found: Word[] = []
  let at = head?.[0].length ?? 0
  while (at < statement.text.length) {
    const word = readWord(statement.text, at)
    if (word === null) {
      const mend = 'add the closing " or escape it as \\"'
      report(`${directive}: a quoted argument does not end`, mend, at)
      return null
    }
    found.push(word)
    at = word.end
    while (/\s/.test(statement.text.charAt(at))) at += 1
  }
  return { directive, words: found }
}

function readWord(text: string, start: number): Word | null {
  const first = text.charAt(start)
  if (first === '"' || first === "'") return readQuoted(text, start)
  let at = start
  while (at < text.length && !/\s/.test(text.charAt(at))) {
    // `TX:'/a b/'`, `id:1,msg:'two words'`: a quoted part keeps its spaces and its quotes.
    const quoted = text.charAt(at) === "'" ? readQuoted(text, at) : null
    at = quoted?.end ?? at + 1
  }
  return { text: text.slice(start, at), start, end: at, escapes: [] }
}

/**
 * Reads a quoted text from its opening quote. Only the escaped quote loses its backslash: all other
 * escapes belong to the pattern or the action inside. Null when the closing quote is missing.
 */
export function readQuoted(text: string, start: number): Word | null {
  const quote = text.charAt(start)
  const escapes: number[] = []
  let read = ''
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text.charAt(at)
    if (char === quote) return { text: read, start: start + 1, end: at + 1, escapes }
    if (char === '\\') {
      at += 1
      const escaped = text.charAt(at)
      if (escaped === quote) escapes.push(read.length)
      else read += char
      read += escaped
    } else read += char
  }
  return null
}
