/** One JSON line for each exchange, at its end, with OpenTelemetry's attribute names, flat. */
import { defaultSecrets } from '../waf/evidence/redact.ts'
import type { ErrorCode } from './errors.ts'
import { hostOf } from './router.ts'

/** What a line tells. The only list of the access log's fields. */
export interface AccessEntry {
  readonly timeMs: number
  readonly requestId: string
  readonly listener: string
  readonly protocol: string
  readonly method: string
  readonly scheme: 'http' | 'https'
  readonly authority: string
  readonly path: string
  /** Raw, without `?`; '' when there is none. */
  readonly query: string
  readonly userAgent: string
  readonly peer: string
  readonly peerPort: number
  readonly client: string
  readonly route: string | null
  readonly status: number
  readonly error: ErrorCode | null
  readonly requestBodyBytes: number
  readonly responseBodyBytes: number
  readonly durationUs: number
  readonly upstream: {
    readonly name: string
    readonly endpoint: string
    readonly attempts: number
    readonly firstByteUs: number | null
  } | null
  readonly waf: WafEntry | null
}

/** The WAF's part of a line. */
export interface WafEntry {
  readonly mode: string
  readonly verdict: string
  readonly score: number
  readonly rules: readonly number[]
}

const protocolVersions: Readonly<Record<string, string>> = {
  'HTTP/1.0': '1.0',
  'HTTP/1.1': '1.1',
  'HTTP/2': '2',
  'HTTP/3': '3',
}

/** Query parameters whose values never reach a log. */
const redactedParameters: ReadonlySet<string> = new Set(defaultSecrets)

// A line is for reading, not for keeping what a client sent: the audit log keeps more.
const textCharactersMax = 1_024

/** The line, with its line feed. By hand: JSON.stringify of the object costs twice as much. */
export function accessLine(entry: AccessEntry): string {
  let line =
    `{"timestamp":"${new Date(entry.timeMs).toISOString()}","log":"access"` +
    `,"request.id":${quote(entry.requestId)},"edge.listener":${quote(entry.listener)}` +
    `,"network.protocol.name":"http"` +
    `,"network.protocol.version":"${protocolVersions[entry.protocol] ?? ''}"` +
    `,"network.peer.address":${quote(entry.peer)},"network.peer.port":${entry.peerPort}` +
    `,"client.address":${quote(entry.client)},"http.request.method":${quote(entry.method)}` +
    `,"url.scheme":"${entry.scheme}","server.address":${quote(hostOf(entry.authority))}` +
    `,"url.path":${quote(entry.path)}`
  if (entry.query !== '') line += `,"url.query":${quote(redactQuery(entry.query))}`
  if (entry.userAgent !== '') line += `,"user_agent.original":${quote(entry.userAgent)}`
  if (entry.route !== null) line += `,"http.route":${quote(entry.route)}`
  line +=
    `,"http.response.status_code":${entry.status}` +
    `,"http.request.body.size":${entry.requestBodyBytes}` +
    `,"http.response.body.size":${entry.responseBodyBytes}` +
    `,"http.server.request.duration":${entry.durationUs / 1e6}`
  if (entry.error !== null) line += `,"error.type":"${entry.error}"`
  return `${line}${upstreamPart(entry)}${wafPart(entry)}}\n`
}

/** Replaces the values of parameters that hold secrets, whatever their case or encoding. */
export function redactQuery(query: string): string {
  if (!query.includes('=')) return query
  return query
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      if (equals === -1) return pair
      const name = pair.slice(0, equals)
      return redactedParameters.has(plain(name)) ? `${name}=REDACTED` : pair
    })
    .join('&')
}

function plain(name: string): string {
  if (!name.includes('%')) return name.toLowerCase()
  // Only ASCII escapes can spell a name of the list; anything else may stay as it is.
  return name
    .replace(/%([0-7][0-9a-f])/gi, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    )
    .toLowerCase()
}

function upstreamPart({ upstream }: AccessEntry): string {
  if (upstream === null) return ''
  const firstByte =
    upstream.firstByteUs === null
      ? ''
      : `,"edge.upstream.first_byte_seconds":${upstream.firstByteUs / 1e6}`
  return (
    `,"edge.upstream.name":${quote(upstream.name)},"edge.upstream.attempts":${upstream.attempts}` +
    `,"edge.upstream.endpoint":${quote(upstream.endpoint)}${firstByte}`
  )
}

function wafPart({ waf }: AccessEntry): string {
  if (waf === null) return ''
  const rules = waf.rules.length === 0 ? '' : `,"edge.waf.rules":[${waf.rules.join(',')}]`
  return (
    `,"edge.waf.mode":"${waf.mode}","edge.waf.verdict":"${waf.verdict}"` +
    `,"edge.waf.score":${waf.score}${rules}`
  )
}

function quote(text: string): string {
  const bounded = text.length > textCharactersMax ? `${text.slice(0, textCharactersMax)}…` : text
  // Nearly all texts need no escape, and a test is cheaper than JSON.stringify.
  return /[^ !#-[\]-~]/.test(bounded) ? JSON.stringify(bounded) : `"${bounded}"`
}
