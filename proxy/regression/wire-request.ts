/** Turns a case into what goes on the wire, completing headers and bodies as go-ftw does. */
import type { CaseRequest } from './cases.ts'

/** A request ready to send: header order and case as written. */
export interface CompleteRequest {
  readonly method: string
  readonly uri: string
  readonly version: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
}

/** Adds Content-Type, Connection and Content-Length where the case leaves them to the runner. */
export function complete(request: CaseRequest): CompleteRequest {
  const headers = request.headers.map(([name, value]): [string, string] => [name, value])
  const has = (name: string) => headers.some(([own]) => own.toLowerCase() === name)
  const valueOf = (name: string) => headers.find(([own]) => own.toLowerCase() === name)?.[1] ?? ''
  let data = request.data
  if (data !== '' && request.autocompleteHeaders) {
    if (!has('content-type')) headers.push(['Content-Type', 'application/x-www-form-urlencoded'])
    if (valueOf('content-type') === 'application/x-www-form-urlencoded') data = encodeForm(data)
  }
  if (valueOf('content-type').startsWith('multipart/form-data;'))
    data = data.replaceAll(/\r?\n/g, '\r\n')
  const body = Buffer.from(data, 'utf8')
  if (request.autocompleteHeaders) {
    if (!has('connection')) headers.push(['Connection', 'close'])
    const mayCarry = /^POST|PUT|PATCH|DELETE$/.test(request.method)
    if ((body.length > 0 || mayCarry) && !has('content-length'))
      headers.push(['Content-Length', String(body.length)])
  }
  return { method: request.method, uri: request.uri, version: request.version, headers, body }
}

/**
 * Form bodies of the cases may stand unescaped: then names and values are escaped, `=` and `&`
 * kept.
 */
function encodeForm(data: string): string {
  if (isEscaped(data)) return data
  return data
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      if (equals < 0) return queryEscape(pair)
      return `${queryEscape(pair.slice(0, equals))}=${queryEscape(pair.slice(equals + 1))}`
    })
    .join('&')
    .replace(/&$/, '')
}

/** Whether unescaping changes the text (or fails): then it is left alone. */
function isEscaped(data: string): boolean {
  return /[%+]/.test(data)
}

function queryEscape(text: string): string {
  const escaped = encodeURIComponent(text).replaceAll('%20', '+')
  return escaped.replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** The bytes of an HTTP/1.1 request. */
export function onTheWire(request: CompleteRequest): Buffer {
  const lines = [`${request.method} ${request.uri} ${request.version}`]
  for (const [name, value] of request.headers) lines.push(`${name}: ${value}`)
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8'), request.body])
}

/** Header fields that HTTP/2 and HTTP/3 forbid (RFC 9113 §8.2.2) or carry otherwise. */
const connectionSpecific = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'host',
])

/** A request as HTTP/2 and HTTP/3 carry it. */
export interface FieldRequest {
  readonly method: string
  readonly path: string
  readonly authority: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
}

/** The same request for HTTP/2 or HTTP/3, or the reason why these protocols cannot carry it. */
export function asFields(request: CaseRequest): FieldRequest | string {
  if (request.raw) return 'raw HTTP/1.1 bytes'
  const all = complete(request)
  if (all.version !== 'HTTP/1.1') return `request line says ${all.version}`
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(all.method)) return 'method is no token'
  if (!all.uri.startsWith('/') && all.uri !== '*') return 'target is no path'
  const authorities = all.headers.filter(([name]) => name.toLowerCase() === 'host')
  const authority = authorities[0]?.[1]
  if (authorities.length !== 1 || authority === undefined) return 'needs exactly one Host'
  if (!/^[0-9A-Za-z.:[\]-]+$/.test(authority)) return 'Host is no authority'
  const framed = all.headers.some(([name]) => name.toLowerCase() === 'content-length')
  if (all.body.length > 0 && !framed) return 'body without framing'
  const headers: [string, string][] = []
  for (const [name, value] of all.headers) {
    const lower = name.toLowerCase()
    if (lower === 'te' && value.toLowerCase() !== 'trailers') return 'TE beside trailers'
    if (lower === 'transfer-encoding') return 'Transfer-Encoding'
    if (connectionSpecific.has(lower)) continue
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(lower)) return 'field name is no token'
    if (/^\s|\s$|[\0\r\n]/.test(value)) return 'field value with edge blanks or controls'
    if (lower === 'content-length' && Number(value) !== all.body.length)
      return 'wrong Content-Length'
    headers.push([lower, Buffer.from(value, 'utf8').toString('latin1')])
  }
  const path = Buffer.from(all.uri, 'utf8').toString('latin1')
  return { method: all.method, path, authority, headers, body: all.body }
}
