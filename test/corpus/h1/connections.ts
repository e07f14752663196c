/** More than one request on a connection, upgrades, and limits at their edges. */
import { type Case, closing, forwarded, get, head, post, refused, smuggled } from '../case.ts'

const ok = { line: 'GET /g' }

const pipelines: readonly Case[] = [
  {
    id: 'pipeline-three',
    bytes: get() + post(['Content-Length: 3'], 'abc') + get(),
    requests: [ok, { line: 'POST /p', body: 'abc' }, ok],
    statuses: [200, 200, 200],
    closed: false,
  },
  {
    id: 'pipeline-chunked',
    bytes: post(['Transfer-Encoding: chunked'], '1\r\na\r\n0\r\n\r\n') + get(),
    requests: [{ line: 'POST /p', body: 'a' }, ok],
    statuses: [200, 200],
    closed: false,
  },
  {
    id: 'pipeline-then-malformed',
    bytes: get() + get('Content-Length: x') + smuggled,
    requests: [ok],
    statuses: [200, 400],
    closed: true,
  },
  {
    id: 'pipeline-then-doubt',
    bytes: get() + head('GET /%2f HTTP/1.1', 'Host: a') + get(),
    requests: [ok, ok],
    statuses: [200, 400, 200],
    closed: false,
  },
  {
    id: 'pipeline-behind-close',
    bytes: get('Connection: close') + smuggled,
    requests: [ok],
    statuses: [200],
    closed: true,
  },
  {
    id: 'pipeline-behind-1.0',
    bytes: head('GET /g HTTP/1.0', 'Host: a') + smuggled,
    requests: [ok],
    statuses: [200],
    closed: true,
  },
  {
    id: 'pipeline-crlf-between',
    bytes: `${get()}\r\n${smuggled}`,
    requests: [ok],
    statuses: [200, 400],
    closed: true,
    why: 'RFC 9112 §2.2 lets a server skip an empty line before a request; the edge does not',
  },
  {
    id: 'pipeline-behind-413',
    bytes: post(['Content-Length: 10485761']) + smuggled,
    requests: [],
    statuses: [413],
    closed: true,
    partial: true,
  },
  {
    id: 'pipeline-get-body-is-a-request',
    bytes: get(`Content-Length: ${smuggled.length}`) + smuggled,
    requests: [{ ...ok, body: smuggled }],
    statuses: [200],
    closed: false,
  },
  {
    id: 'pipeline-head',
    bytes: head('HEAD /g HTTP/1.1', 'Host: a') + get(),
    requests: [{ line: 'HEAD /g' }, ok],
    statuses: [200, 200],
    closed: false,
  },
]

const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
const thirteen = 'Sec-WebSocket-Version: 13'
const asks = ['Connection: Upgrade', 'Upgrade: websocket']

const upgrades: readonly Case[] = [
  forwarded(
    'upgrade-h2c',
    get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'),
    { ...ok, without: ['upgrade', 'http2-settings', 'connection'] },
    'RFC 9113 §3.1 has no h2c upgrade any more: dropped, and the request is an ordinary one',
  ),
  forwarded(
    'upgrade-h2c-body',
    post(['Connection: Upgrade', 'Upgrade: h2c', 'Content-Length: 3'], 'abc'),
    { line: 'POST /p', body: 'abc', without: ['upgrade'] },
    'as upgrade-h2c',
  ),
  forwarded(
    'upgrade-tls',
    get('Connection: Upgrade', 'Upgrade: TLS/1.2'),
    { ...ok, without: ['upgrade'] },
    'RFC 9110 §7.8: an upgrade that is not offered is ignored',
  ),
  forwarded(
    'upgrade-without-connection',
    get('Upgrade: websocket', thirteen, key),
    { ...ok, without: ['upgrade'] },
    'RFC 9110 §7.8: Upgrade counts with its connection option only',
  ),
  forwarded(
    'upgrade-without-field',
    get('Connection: upgrade', thirteen, key),
    { ...ok, without: ['upgrade', 'connection'] },
    'nothing is asked for',
  ),
  closing(
    forwarded(
      'upgrade-1.0',
      head('GET /g HTTP/1.0', 'Host: a', ...asks, thirteen, key),
      { ...ok, without: ['upgrade'] },
      'RFC 9110 §7.8: an Upgrade in HTTP/1.0 is ignored',
    ),
  ),
  refused('websocket-no-version', get(...asks, key)),
  refused('websocket-version-8', get(...asks, 'Sec-WebSocket-Version: 8', key)),
  refused('websocket-version-twice', get(...asks, thirteen, thirteen, key)),
  refused('websocket-no-key', get(...asks, thirteen)),
  refused('websocket-key-short', get(...asks, thirteen, 'Sec-WebSocket-Key: c2hvcnQ=')),
  refused('websocket-key-twice', get(...asks, thirteen, key, key)),
  refused('websocket-key-odd', get(...asks, thirteen, `${key.slice(0, -3)}!==`)),
  refused('websocket-list', get('Connection: Upgrade', 'Upgrade: websocket, h2c', thirteen, key)),
  refused(
    'websocket-list-h2c',
    get('Connection: Upgrade', 'Upgrade: h2c, websocket', thirteen, key),
  ),
  refused('websocket-twice', get(...asks, 'Upgrade: websocket', thirteen, key)),
  refused('websocket-post', head('POST /g HTTP/1.1', 'Host: a', ...asks, thirteen, key)),
  refused('websocket-body', get(...asks, thirteen, key, 'Content-Length: 3') + 'abc'),
  refused('websocket-chunked', get(...asks, thirteen, key, 'Transfer-Encoding: chunked')),
]

const lineMax = 8192
const headMax = 32_768
const countMax = 100

/** `GET /aaa… HTTP/1.1` whose line has so many bytes, CR LF included. */
function longLine(bytes: number): string {
  return `/${'a'.repeat(bytes - 'GET / HTTP/1.1\r\n'.length)}`
}

/** A field line of so many bytes, CR LF included. */
function longField(bytes: number): string {
  return `X: ${'b'.repeat(bytes - 'X: \r\n'.length)}`
}

/** A head of exactly so many bytes. */
function longHead(bytes: number): string {
  const base = get()
  const full = Array.from({ length: 3 }, () => longField(lineMax))
  const left = bytes - base.length - 3 * lineMax
  return get(...full, longField(left))
}

function within(id: string, bytes: string, target = '/g'): Case {
  return forwarded(`limit-${id}`, bytes, { line: `GET ${target}` })
}

const limits: readonly Case[] = [
  within(
    'line-minus',
    head(`GET ${longLine(lineMax - 1)} HTTP/1.1`, 'Host: a'),
    longLine(lineMax - 1),
  ),
  within('line', head(`GET ${longLine(lineMax)} HTTP/1.1`, 'Host: a'), longLine(lineMax)),
  refused('limit-line-plus', head(`GET ${longLine(lineMax + 1)} HTTP/1.1`, 'Host: a'), 414),
  refused('limit-line-endless', `GET /${'a'.repeat(lineMax)}`, 414),
  within('field-minus', get(longField(lineMax - 1))),
  within('field', get(longField(lineMax))),
  refused('limit-field-plus', get(longField(lineMax + 1)), 431),
  refused('limit-name-plus', get(`${'n'.repeat(lineMax)}: x`), 431),
  within('count-minus', get(...Array.from({ length: countMax - 2 }, (_, i) => `X${i}: y`))),
  within('count', get(...Array.from({ length: countMax - 1 }, (_, i) => `X${i}: y`))),
  refused('limit-count-plus', get(...Array.from({ length: countMax }, (_, i) => `X${i}: y`)), 431),
  within('head-minus', longHead(headMax - 1)),
  within('head', longHead(headMax)),
  refused('limit-head-plus', longHead(headMax + 1), 431),
  refused('limit-head-endless', `GET / HTTP/1.1\r\n${`${longField(4000)}\r\n`.repeat(9)}`, 431),
]

/** The class. */
export const connections: readonly Case[] = [...pipelines, ...upgrades, ...limits]
