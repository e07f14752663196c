/**
 * Backends that answer with garbage: the client gets 502, or a visible cut once the head is out;
 * the connection is never used again, and the next request is fine.
 */
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'

/** What the client must see: a status, or a response that visibly breaks off behind its head. */
type Seen = number | 'cut'

interface Case {
  readonly name: string
  /** What the backend writes, in pieces a moment apart. */
  readonly bytes: readonly (string | Buffer)[]
  readonly seen: Seen
  readonly method?: string
  /** What it does then; else it keeps the connection open. */
  readonly finally?: 'end' | 'reset'
  /** The connection may carry further requests all the same. */
  readonly reusable?: boolean
}

const ok = 'HTTP/1.1 200 OK\r\n'
const four = `${ok}content-length: 4\r\n\r\n`
const chunked = `${ok}transfer-encoding: chunked\r\n\r\n`
const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n'
const head = (fields: string) => `${ok}content-length: 4\r\n${fields}\r\n\r\ngood`
const bad = (name: string, ...bytes: (string | Buffer)[]): Case => ({ name, bytes, seen: 502 })
const cut = (name: string, ...bytes: (string | Buffer)[]): Case => ({ name, bytes, seen: 'cut' })

const cases: readonly Case[] = [
  bad('no status line', 'hello\r\n\r\n'),
  bad('HTTP/0.9', '<html>hello</html>'),
  bad('a status line without a status', 'HTTP/1.1 \r\n\r\n'),
  bad('a status of two digits', 'HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n'),
  bad('a status of four digits', 'HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n'),
  bad('a status of letters', 'HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n'),
  bad('status 000', 'HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n'),
  bad('status 600', 'HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n'),
  bad('HTTP/1.2', 'HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n'),
  bad('HTTP/2 in text', 'HTTP/2 200\r\ncontent-length: 0\r\n\r\n'),
  bad('a name in lower case', 'http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'),
  bad('ICY', 'ICY 200 OK\r\n\r\n'),
  bad('an empty line first', `\r\n${four}good`),
  bad('a space first', ` ${four}good`),
  bad('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  bad('HTTP/2 SETTINGS', Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])),
  bad('a TLS alert', Buffer.from([21, 3, 1, 0, 2, 2, 40])),
  bad('an SSH banner', 'SSH-2.0-OpenSSH_9.2\r\n'),
  bad('zeroes', Buffer.alloc(64)),
  bad('a request instead of a response', 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'),
  bad('lines that end in LF', 'HTTP/1.1 200 OK\ncontent-length: 4\n\r\n\r\ngood'),
  bad('one line that ends in LF', `${ok}a: b\ncontent-length: 4\r\n\r\ngood`),
  bad('a bare CR', head('a: b\rc')),
  bad('a NUL in a value', head('a: b\0c')),
  bad('a NUL in a name', head('a\0b: c')),
  bad('a control byte in a value', head('a: b\u0001c')),
  bad('a DEL in a value', head('a: b\u007fc')),
  bad('obs-fold', head('a: b\r\n c')),
  bad('a fold before any field', `${ok} a: b\r\ncontent-length: 4\r\n\r\ngood`),
  bad('a space before the colon', head('a : b')),
  bad('no colon', head('a')),
  bad('no name', head(': b')),
  bad('a name in quotes', head('"a": b')),
  bad('a name beyond ASCII', head('\u00e4: b')),
  bad(
    'both lengths',
    `${ok}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n`,
  ),
  bad('chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'),
  bad('a transfer coding nobody knows', `${ok}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`),
  bad(
    'chunked twice',
    `${ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
  ),
  bad('transfer-encoding: identity', `${ok}transfer-encoding: identity\r\n\r\n`),
  bad('a length twice', head('content-length: 4')),
  bad('two different lengths', head('content-length: 5')),
  bad('a list of lengths', `${ok}content-length: 4, 4\r\n\r\ngood`),
  bad('a negative length', `${ok}content-length: -4\r\n\r\ngood`),
  bad('a length with a plus', `${ok}content-length: +4\r\n\r\ngood`),
  bad('a length in hex', `${ok}content-length: 0x4\r\n\r\ngood`),
  bad('an empty length', `${ok}content-length: \r\n\r\n`),
  bad('a length beyond 64 bits', `${ok}content-length: 18446744073709551616\r\n\r\ngood`),
  bad('10,000 fields', head('a: b\r\n'.repeat(10_000) + 'a: b')),
  bad('a field of 1 MiB', head(`a: ${'b'.repeat(1 << 20)}`)),
  bad('129 fields', head('a: b\r\n'.repeat(127) + 'a: b')),
  bad('nine interim responses', hints.repeat(9) + `${four}good`),
  { name: 'eight of them', bytes: [`${hints.repeat(8)}${four}good`], seen: 200, reusable: true },
  bad(
    'a 101 nobody asked for',
    'HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
  ),
  { ...bad('nothing, and the end'), finally: 'end' },
  { ...bad('nothing, and a reset'), finally: 'reset' },
  { ...bad('half a head, and the end', 'HTTP/1.1 200 OK\r\ncontent-'), finally: 'end' },
  { ...bad('half a head, and a reset', 'HTTP/1.1 200 OK\r\ncontent-'), finally: 'reset' },
  { ...bad('silence', ''), seen: 504 },
  { ...bad('half a head and silence', 'HTTP/1.1 200'), seen: 504 },
  { ...cut('a body shorter than its length', `${four}go`), finally: 'end' },
  { ...cut('a body that stops', `${four}go`) },
  { ...cut('a body that is reset', `${four}go`), finally: 'reset' },
  { ...cut('chunks that end early', `${chunked}4\r\ngo`), finally: 'end' },
  { ...cut('chunks without the last', `${chunked}4\r\ngood\r\n`), finally: 'end' },
  cut('a chunk size that is none', `${chunked}xyz\r\ngood\r\n0\r\n\r\n`),
  cut('a chunk size beyond 64 bits', `${chunked}10000000000000004\r\ngood\r\n0\r\n\r\n`),
  cut('a negative chunk size', `${chunked}-4\r\ngood\r\n0\r\n\r\n`),
  cut('a chunk longer than its size', `${chunked}2\r\ngood\r\n0\r\n\r\n`),
  cut('chunks that end in LF', `${chunked}4\ngood\n0\n\n`),
  cut('a chunk extension of 1 KiB', `${chunked}4;${'a'.repeat(1024)}\r\ngood\r\n0\r\n\r\n`),
  cut('a trailer without a colon', `${chunked}4\r\ngood\r\n0\r\nx\r\n\r\n`),
  cut('a trailer that frames', `${chunked}4\r\ngood\r\n0\r\ncontent-length: 1\r\n\r\n`),
  cut('17 trailers', `${chunked}4\r\ngood\r\n0\r\n${'a: b\r\n'.repeat(17)}\r\n`),
  { name: 'a body longer than its length', bytes: [`${four}goodEVIL`], seen: 200 },
  { name: 'a second response at once', bytes: [`${four}good${four}EVIL`], seen: 200 },
  { name: 'a second response later', bytes: [`${four}good`, `${four}EVIL`], seen: 200 },
  { name: 'bytes behind the last chunk', bytes: [`${chunked}0\r\n\r\nEVIL`], seen: 200 },
  { name: 'HEAD with a body', bytes: [`${four}EVIL`], seen: 200, method: 'HEAD' },
  {
    name: '204 with a body',
    bytes: ['HTTP/1.1 204 No\r\ncontent-length: 4\r\n\r\nEVIL'],
    seen: 204,
  },
  {
    name: '304 with a body',
    bytes: ['HTTP/1.1 304 No\r\ncontent-length: 4\r\n\r\nEVIL'],
    seen: 304,
  },
  { name: 'a half-close', bytes: [`${four}good`], seen: 200, finally: 'end' },
  { name: 'no length, until the end', bytes: [`${ok}\r\ngood`], seen: 200, finally: 'end' },
  {
    name: 'no reason',
    bytes: ['HTTP/1.1 200\r\ncontent-length: 4\r\n\r\ngood'],
    seen: 200,
    reusable: true,
  },
  { name: 'a head byte by byte', bytes: `${four}good`.split(''), seen: 200, reusable: true },
]

let edge: RunningEdge
let backend: Server
let port = 0
/** The cases that each connection answered, in order. */
const served: string[][] = []
/** Connections on which everything of the case was written. */
const finished = new Set<readonly string[] | undefined>()

function answer(socket: Socket, path: string, log: string[]): void {
  log.push(path)
  const found = cases[Number(path.slice(1))]
  if (path === '/good' || !found) {
    socket.write(`${four}good`)
    return
  }
  const [first = '', ...later] = found.bytes
  const finish = () => {
    finished.add(log)
    if (found.finally === 'end') socket.end()
    if (found.finally === 'reset') socket.resetAndDestroy()
  }
  socket.write(typeof first === 'string' ? Buffer.from(first, 'latin1') : first)
  const next = () => {
    const piece = later.shift()
    if (piece === undefined) return finish()
    socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
    setTimeout(next, 5)
  }
  setTimeout(next, 20)
}

beforeAll(async () => {
  backend = createServer((socket) => {
    const log: string[] = []
    served.push(log)
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const path = text.split(' ')[1] ?? ''
        text = text.slice(end + 4)
        answer(socket, path, log)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(backend, 'listening')
  const address = backend.address()
  port = typeof address === 'object' && address ? address.port : 0
  const file = join(mkdtempSync(join(tmpdir(), 'edge-bad-')), 'edge.yaml')
  const upstream = `name: bad, endpoints: [{ url: "http://127.0.0.1:${port}" }]`
  const settings = 'firstByteTimeout: 1s, idleTimeout: 1s, ejection: { consecutiveFailures: 0 }'
  writeFileSync(file, `upstreams: [{ ${upstream}, ${settings} }]\n`)
  const flags = ['--config', file, '--no-redirect', '--waf', 'off', '--wire-threads', '1']
  edge = await startEdge({ arguments: flags })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
})

/** One request; everything that came back until the edge closed. */
async function ask(method: string, path: string): Promise<string> {
  const socket = connect(edge.httpPort, '127.0.0.1')
  let text = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => (text += chunk.toString('latin1')))
  socket.write(`${method} ${path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n`)
  await new Promise((closed) => socket.once('close', closed))
  return text
}

/** Without interim responses: those pass to the client as they come. */
function final(answered: string): string {
  return answered.replace(/^(?:HTTP\/1\.1 1\d\d [^]*?\r\n\r\n)+/, '')
}

function seenBy(text: string): Seen {
  const answered = final(text)
  const end = answered.indexOf('\r\n\r\n')
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(answered) ?? []
  if (end < 0 || status === undefined) return 'cut'
  const body = answered.slice(end + 4)
  const fields = answered.slice(0, end).toLowerCase()
  const [, length] = /content-length: (\d+)/.exec(fields) ?? []
  const noBody = status === '204' || status === '304'
  const whole = fields.includes('transfer-encoding: chunked')
    ? body.endsWith('0\r\n\r\n')
    : noBody || body.length === Number(length ?? body.length)
  return whole ? Number(status) : 'cut'
}

test('there are at least 60 of them', () => {
  expect(cases.length).toBeGreaterThanOrEqual(60)
})

test.each(cases.map((entry, index) => [entry.name, entry, index] as const))(
  '%s',
  async (_name, entry, index) => {
    const path = `/${index}`
    const method = entry.method ?? 'GET'
    const answered = await ask(method, path)
    expect(method === 'HEAD' ? Number(answered.slice(9, 12)) : seenBy(answered)).toBe(entry.seen)
    expect(answered).not.toContain('EVIL')
    const interim = answered.match(/HTTP\/1\.1 1\d\d /g) ?? []
    expect(interim).toHaveLength(Math.min(8, entry.bytes.join('').split(hints).length - 1))
    // What comes late must have come before the next request: later it would be its answer.
    const [log] = served.filter((paths) => paths.includes(path)).slice(-1)
    await vi.waitFor(() => expect(finished.has(log)).toBe(true), 5_000)
    await sleep(20)
    const next = await ask('GET', '/good')
    expect(seenBy(next)).toBe(200)
    expect(next.endsWith('good')).toBe(true)
    const used = served.filter((log) => log.includes(path))
    expect(used.length).toBeGreaterThan(0)
    if (!entry.reusable) expect(used.every((log) => log.at(-1) === path)).toBe(true)
  },
)
