/** The common and the combined log format, as Apache, nginx and many others write them. */
import type { OfflineRequest } from '../../waf/offline/engine.ts'
import { type LineReader, completed, protocolOf } from './entry.ts'

// host ident user [time] "request" status bytes, then "referer" "user agent" and whatever follows.
const quoted = '"((?:[^"\\\\]|\\\\.)*)"'
const start = '^(\\S+) \\S+ (?:\\S+|"[^"]*") \\[([^\\]]*)\\]'
const pattern = new RegExp(`${start} ${quoted} (\\d{3}|-) (\\d+|-)(?: ${quoted} ${quoted})?`)

/** Whether a line is of this format. */
export function isCommonLog(text: string): boolean {
  return pattern.test(text)
}

/** Reads one line. */
export const readCommonLog: LineReader = (text, line) => {
  const found = pattern.exec(text)
  if (found === null) return { line, reason: 'is not in common or combined log format' }
  const [, peer = '', time = '', request = '', , , referer = '', agent = ''] = found
  const parts = /^(\S+) (.*?)(?: (HTTP\/\d(?:\.\d)?))?$/s.exec(unescaped(request))
  const [, method, target, protocol = 'HTTP/1.0'] = parts ?? []
  if (method === undefined || target === undefined || target === '') {
    return { line, reason: 'the request line was no HTTP' }
  }
  const known: [string, string][] = []
  if (agent !== '' && agent !== '-') known.push(['User-Agent', unescaped(agent)])
  if (referer !== '' && referer !== '-') known.push(['Referer', unescaped(referer)])
  const timeMs = timeOf(time)
  const read: OfflineRequest = {
    method,
    target,
    protocol: protocolOf(protocol),
    headers: completed(method, known),
    ...(/^[\d.]+$|:/.test(peer) ? { peer } : {}),
    ...(timeMs === null ? {} : { timeMs }),
  }
  return { line, request: read }
}

const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  b: '\b',
  f: '\f',
}

/** `\x22`, `\"`, `\\` and the letters of C: how both servers write what would break the line. */
function unescaped(text: string): string {
  if (!text.includes('\\')) return text
  return text.replaceAll(/\\(?:x([0-9a-fA-F]{2})|(.))/gs, (_, hex?: string, one?: string) =>
    hex === undefined ? (escapes[one ?? ''] ?? one ?? '') : String.fromCharCode(Number(`0x${hex}`)),
  )
}

/** `21/Nov/2026:14:07:55 +0000`, as milliseconds since the epoch. */
function timeOf(text: string): number | null {
  const found = /^(\d{2})\/(\w{3})\/(\d{4}):(\d{2}:\d{2}:\d{2}) ([+-]\d{4})$/.exec(text)
  if (found === null) return null
  const [, day, month, year, clock, zone] = found
  const time = Date.parse(`${day} ${month} ${year} ${clock} ${zone}`)
  return Number.isNaN(time) ? null : time
}
