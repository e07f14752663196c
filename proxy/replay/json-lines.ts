/** Logs of one JSON object a line: our own access log, and ModSecurity v3's audit log. */
import { z } from 'zod'
import type { OfflineRequest } from '../../waf/offline/engine.ts'
import { type LineReader, type ReplayLine, completed, latin1Of, protocolOf } from './entry.ts'

const access = z.looseObject({
  log: z.literal('access'),
  'http.request.method': z.string(),
  'url.path': z.string(),
  'url.query': z.string().optional(),
  'server.address': z.string().optional(),
  'user_agent.original': z.string().optional(),
  'client.address': z.string().optional(),
  'network.protocol.version': z.string().optional(),
  'request.id': z.string().optional(),
  timestamp: z.string().optional(),
})

const value = z.union([z.string(), z.number()])
const fieldMap = z.record(z.string(), z.union([value, z.array(value)]))

const audit = z.looseObject({
  transaction: z.looseObject({
    client_ip: z.string().optional(),
    client_port: z.number().optional(),
    host_port: z.number().optional(),
    unique_id: z.string().optional(),
    request: z.looseObject({
      method: z.string(),
      http_version: value.optional(),
      uri: z.string(),
      body: z.string().optional(),
      headers: fieldMap.optional(),
    }),
  }),
})

/** Which of the two an object is; null for neither. */
export function jsonKindOf(object: unknown): 'access' | 'audit' | null {
  if (typeof object !== 'object' || object === null) return null
  if ('transaction' in object) return 'audit'
  return 'log' in object && object.log === 'access' ? 'access' : null
}

/** Reads one line of our own access log. */
export const readAccessLine: LineReader = (text, line) => {
  const object = jsonOf(text)
  // Other lines of the program share its stdout.
  if (object !== null && jsonKindOf(object) === null) return null
  const read = access.safeParse(object)
  if (!read.success) return { line, reason: 'is no access log line of edge' }
  const entry = read.data
  const method = entry['http.request.method']
  const query = entry['url.query']
  const known: [string, string][] = []
  // The log holds a character for each byte already.
  if (entry['server.address']) known.push(['Host', entry['server.address']])
  if (entry['user_agent.original']) known.push(['User-Agent', entry['user_agent.original']])
  const timeMs = Date.parse(entry.timestamp ?? '')
  const peer = entry['client.address']
  const request: OfflineRequest = {
    method,
    target: query === undefined ? entry['url.path'] : `${entry['url.path']}?${query}`,
    protocol: protocolOf(entry['network.protocol.version'] ?? ''),
    headers: completed(method, known),
    ...(peer === undefined ? {} : { peer }),
    ...(Number.isNaN(timeMs) ? {} : { timeMs }),
    ...(entry['request.id'] === undefined ? {} : { uniqueId: entry['request.id'] }),
  }
  return { line, request }
}

/** Reads one line of ModSecurity v3's JSON audit log. */
export const readAuditLine: LineReader = (text, line) => readTransaction(jsonOf(text), line)

/** Reads one transaction of it. */
export function readTransaction(object: unknown, line: number): ReplayLine {
  const read = audit.safeParse(object)
  if (!read.success) return { line, reason: 'is no transaction of a ModSecurity v3 audit log' }
  const { transaction } = read.data
  const { method, uri, body, headers, http_version: version } = transaction.request
  const fields = Object.entries(headers ?? {}).flatMap(([name, values]) =>
    [values].flat().map((one): [string, string] => [latin1Of(name), latin1Of(String(one))]),
  )
  const request: OfflineRequest = {
    method,
    target: latin1Of(uri),
    protocol: protocolOf(String(version ?? '1.1')),
    // All headers are there, unless part B was not logged.
    headers: fields.length > 0 ? fields : completed(method, []),
    body: body === undefined || body === '' ? null : Buffer.from(body, 'utf8'),
    ...(transaction.client_ip === undefined ? {} : { peer: transaction.client_ip }),
    ...(transaction.client_port === undefined ? {} : { peerPort: transaction.client_port }),
    ...(transaction.host_port === undefined ? {} : { localPort: transaction.host_port }),
    ...(transaction.unique_id === undefined ? {} : { uniqueId: transaction.unique_id }),
  }
  return { line, request }
}

/** Null for a text that is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
