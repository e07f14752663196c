/**
 * Requests of HTTP/2 and HTTP/3 that a backend of HTTP/1.1 could read as something else: as they
 * are on the wire, and what must come of them.
 */

/** A field line. */
export type Line = readonly [string, string]

/** One request. */
export interface Downgrade {
  readonly name: string
  readonly fields: readonly Line[]
  /** DATA frames; absent: the request ends with its head. */
  readonly data?: readonly string[]
  readonly trailers?: readonly Line[]
  /** What the backend must understand; absent: the request is refused. */
  readonly forwarded?: { readonly line: string; readonly body: string }
  /** Names (lower case) that must not reach the backend, where it is forwarded. */
  readonly without?: readonly string[]
}

interface Parts {
  readonly method?: string
  readonly scheme?: string
  readonly authority?: string
  readonly path?: string
}

function head(parts: Parts, ...more: Line[]): Line[] {
  return [
    [':method', parts.method ?? 'GET'],
    [':scheme', parts.scheme ?? 'https'],
    [':authority', parts.authority ?? 'localhost'],
    [':path', parts.path ?? '/x'],
    ...more,
  ]
}

const get = (...more: Line[]) => head({}, ...more)
const post = (...more: Line[]) => head({ method: 'POST' }, ...more)
const smuggled = 'GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n'

/** The same cases on both protocols. */
export const downgrades: readonly Downgrade[] = [
  // Where a body ends (RFC 9113 §8.1.1, RFC 9114 §4.1.2).
  {
    name: 'content-length shorter than DATA (h2.CL)',
    fields: post(['content-length', '4']),
    data: [`xxxx${smuggled}`],
  },
  {
    name: 'content-length: 0 before DATA',
    fields: post(['content-length', '0']),
    data: [smuggled],
  },
  {
    name: 'content-length longer than DATA',
    fields: post(['content-length', '60']),
    data: ['x'.repeat(20)],
  },
  { name: 'content-length, and HEADERS is the end', fields: post(['content-length', '45']) },
  // HAProxy CVE-2026-33555: an empty STREAM frame with FIN skipped the check.
  {
    name: 'content-length, then an empty end',
    fields: post(['content-length', '45']),
    data: [],
  },
  {
    name: 'content-length in two parts, then an end too early',
    fields: post(['content-length', '45']),
    data: ['x', 'y'],
  },
  {
    name: 'two content-lengths',
    fields: post(['content-length', '4'], ['content-length', '5']),
    data: ['xxxx'],
  },
  { name: 'a list of content-lengths', fields: post(['content-length', '4, 5']), data: ['xxxx'] },
  { name: 'content-length with a sign', fields: post(['content-length', '+4']), data: ['xxxx'] },
  { name: 'content-length in hex', fields: post(['content-length', '0x4']), data: ['xxxx'] },
  {
    name: 'transfer-encoding (h2.TE)',
    fields: post(['transfer-encoding', 'chunked']),
    data: [`0\r\n\r\n${smuggled}`],
  },
  {
    name: 'transfer-encoding beside content-length',
    fields: post(['transfer-encoding', 'chunked'], ['content-length', '4']),
    data: ['xxxx'],
  },
  // Lines that would split.
  { name: 'CR LF in a value', fields: get(['x-a', `1\r\n\r\n${smuggled}`]) },
  { name: 'LF in a value', fields: get(['x-a', '1\ntransfer-encoding: chunked']) },
  { name: 'CR in a value', fields: get(['x-a', '1\rx: y']) },
  { name: 'NUL in a value', fields: get(['x-a', '1\u0000']) },
  { name: 'CR LF in a name', fields: get(['x-a: 1\r\nx-b', '2']) },
  {
    name: 'CR LF in the path',
    fields: head({ path: `/x HTTP/1.1\r\nhost: a\r\n\r\n${smuggled}` }),
  },
  { name: 'CR LF in the authority', fields: head({ authority: 'localhost\r\nx-a: 1' }) },
  { name: 'CR LF in the method', fields: head({ method: `GET /smuggled HTTP/1.1\r\nx: ` }) },
  { name: 'a space in the path', fields: head({ path: '/x HTTP/1.1' }) },
  { name: 'a space in the method', fields: head({ method: 'GET /smuggled' }) },
  { name: 'a tab in the path', fields: head({ path: '/x\ty' }) },
  // Names.
  { name: 'an upper-case name', fields: get(['X-A', '1']) },
  { name: 'a space in a name', fields: get(['x a', '1']) },
  { name: 'a space at the end of a name', fields: post(['content-length ', '4']), data: ['xxxx'] },
  { name: 'a colon in a name', fields: get(['x:a', '1']) },
  { name: 'an empty name', fields: get(['', '1']) },
  { name: 'a control character in a name', fields: get(['x\u0001a', '1']) },
  { name: 'a value that begins with a space', fields: get(['x-a', ' 1']) },
  // Pseudo-fields (RFC 9113 §8.3).
  {
    name: 'a pseudo-field behind a field',
    fields: [
      [':method', 'GET'],
      [':scheme', 'https'],
      ['x-a', '1'],
      [':path', '/x'],
    ],
  },
  { name: 'two paths', fields: get([':path', '/smuggled']) },
  { name: 'two methods', fields: get([':method', 'POST']) },
  { name: 'two authorities', fields: get([':authority', 'evil']) },
  { name: 'an unknown pseudo-field', fields: get([':x', '1']) },
  { name: ':status in a request', fields: get([':status', '200']) },
  {
    name: 'no path',
    fields: [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':authority', 'localhost'],
    ],
  },
  {
    name: 'no method',
    fields: [
      [':scheme', 'https'],
      [':authority', 'localhost'],
      [':path', '/x'],
    ],
  },
  { name: 'an empty path', fields: head({ path: '' }) },
  { name: 'a path without slash', fields: head({ path: 'x/y' }) },
  { name: 'a path with a fragment', fields: head({ path: '/x#y' }) },
  { name: 'a whole URI as path', fields: head({ path: 'http://evil/x' }) },
  { name: 'the path *, but no OPTIONS', fields: head({ path: '*' }) },
  { name: 'a scheme with an authority in it', fields: head({ scheme: 'https://evil/' }) },
  { name: ':protocol without CONNECT', fields: get([':protocol', 'websocket']) },
  // Whose is it?
  { name: 'an authority and another host', fields: get(['host', 'evil']) },
  { name: 'two hosts', fields: get(['host', 'localhost'], ['host', 'evil']) },
  { name: 'a comma in the authority', fields: head({ authority: 'localhost,evil' }) },
  { name: 'user and password in the authority', fields: head({ authority: 'evil@localhost' }) },
  { name: 'a path in the authority', fields: head({ authority: 'localhost/smuggled' }) },
  { name: 'an empty authority', fields: head({ authority: '' }) },
  { name: 'a port that is no number', fields: head({ authority: 'localhost:44x' }) },
  // Fields of a connection (RFC 9113 §8.2.2).
  { name: 'connection', fields: get(['connection', 'x-forwarded-for']) },
  { name: 'keep-alive', fields: get(['keep-alive', 'timeout=5']) },
  { name: 'proxy-connection', fields: get(['proxy-connection', 'keep-alive']) },
  { name: 'upgrade', fields: get(['upgrade', 'h2c']) },
  { name: 'TE other than trailers', fields: get(['te', 'trailers, chunked']) },
  // Trailers.
  {
    name: 'content-length as trailer',
    fields: post(),
    data: ['xxxx'],
    trailers: [['content-length', '0']],
  },
  {
    name: 'transfer-encoding as trailer',
    fields: post(),
    data: ['xxxx'],
    trailers: [['transfer-encoding', 'chunked']],
  },
  { name: 'host as trailer', fields: post(), data: ['xxxx'], trailers: [['host', 'evil']] },
  {
    name: 'a pseudo-field as trailer',
    fields: post(),
    data: ['xxxx'],
    trailers: [[':path', '/smuggled']],
  },
  {
    name: 'CR LF in a trailer',
    fields: post(),
    data: ['xxxx'],
    trailers: [['grpc-status', `0\r\n\r\n${smuggled}`]],
  },
  // What passes, as exactly one request.
  { name: 'a plain GET', fields: get(), forwarded: { line: 'GET /x', body: '' } },
  {
    name: 'a body without content-length',
    fields: post(),
    data: ['xx', 'xx'],
    forwarded: { line: 'POST /x', body: 'xxxx' },
  },
  {
    name: 'a body that is a request',
    fields: post(['content-length', String(smuggled.length)]),
    data: [smuggled],
    forwarded: { line: 'POST /x', body: smuggled },
  },
  {
    name: 'a GET with a body',
    fields: get(['content-length', '4']),
    data: ['xxxx'],
    forwarded: { line: 'GET /x', body: 'xxxx' },
  },
  {
    name: 'host equal to the authority',
    fields: get(['host', 'localhost']),
    forwarded: { line: 'GET /x', body: '' },
  },
  // A backend that reads _ as - would see a field that the edge did not judge: what decides on
  // framing or on the client is refused, anything else is dropped.
  { name: 'content_length', fields: post(['content_length', '0']), data: ['xxxx'] },
  { name: 'transfer_encoding', fields: post(['transfer_encoding', 'chunked']), data: ['xxxx'] },
  { name: 'x_forwarded_for', fields: get(['x_forwarded_for', '1.2.3.4']) },
  {
    name: 'x_custom',
    fields: get(['x_custom', '1']),
    forwarded: { line: 'GET /x', body: '' },
    without: ['x_custom', 'x-custom'],
  },
]
