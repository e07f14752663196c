/** Every limit of `limits:` that h1 connections meet: what is done, comes back and is logged. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { connect as connectH2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { H3Client } from '../harness/h3.ts'
import { processorMs } from './hold-stage.ts'
import { FIN, eventually, raw } from './raw.ts'

let backend: Backend
let edge: RunningEdge

const limits = {
  HEADER_MAX: '3KiB',
  HEADER_LINE_MAX: '1KiB',
  HEADER_COUNT_MAX: '10',
  HEADER_TIMEOUT: '1s',
  HANDSHAKE_TIMEOUT: '1s',
  KEEP_ALIVE_IDLE_TIMEOUT: '2s',
  BODY_IDLE_TIMEOUT: '1500ms',
  BODY_RATE_MIN: '1KiB',
  BODY_RATE_GRACE: '3s',
  REQUESTS_PER_CONNECTION_MAX: '3',
  TRAILER_COUNT_MAX: '2',
  TRAILER_MAX: '100B',
  CONNECTIONS_PER_ADDRESS_MAX: '20',
}

function environment(values: Record<string, string>): Record<string, string> {
  const entries = Object.entries(values).map(([name, value]) => [`EDGE_LIMITS_${name}`, value])
  return Object.fromEntries(entries) as Record<string, string>
}

/** Whether the access log has `code`. */
const logged = (on: RunningEdge, code: string) => eventually(() => on.output().includes(code))

beforeAll(async () => {
  backend = await startBackend()
  const options = ['--backend', backend.url, '--no-redirect', '--waf', 'off']
  edge = await startEdge({ arguments: options, environment: environment(limits) })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
})

const get = (more = '') => `GET / HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`
const post = (more: string) => `POST /echo HTTP/1.1\r\nHost: localhost\r\n${more}\r\n\r\n`
const lines = (count: number, bytes: number) =>
  Array.from({ length: count }, (_, at) => `X-${at}: ${'v'.repeat(bytes)}\r\n`).join('')
const chunked = (trailers: string) =>
  `${post('Transfer-Encoding: chunked')}2\r\nhi\r\n0\r\n${trailers}\r\n`
const drops = Array.from({ length: 16 }, () => ['0123456789', 400]).flat()

test.each([
  ['headerMax', [get(lines(5, 800))], 431, 'HEADER_TOO_LARGE'],
  ['headerLineMax', [get(lines(1, 1500))], 431, 'HEADER_TOO_LARGE'],
  ['headerLineMax', [`GET /${'a'.repeat(1500)} HTTP/1.1\r\n`], 414, 'URI_TOO_LONG'],
  ['headerCountMax', [get(lines(11, 1))], 431, 'HEADER_TOO_LARGE'],
  ['headerTimeout', ['GET / HTTP/1.1\r\nHost:'], 408, 'HEADER_TIMEOUT'],
  ['headerTimeout, drop by drop', ['GET / HTTP/1.1\r\n', ...drops], 408, 'HEADER_TIMEOUT'],
  ['bodyIdleTimeout', [`${post('Content-Length: 9')}12`], 408, 'REQUEST_BODY_TIMEOUT'],
  ['bodyRateMin', [post('Content-Length: 99999'), ...drops], 408, 'REQUEST_TOO_SLOW'],
  ['trailerCountMax', [chunked('a: 1\r\nb: 2\r\nc: 3\r\n')], 431, 'TRAILERS_TOO_LARGE'],
  ['trailerMax', [chunked(`a: ${'v'.repeat(120)}\r\n`)], 431, 'TRAILERS_TOO_LARGE'],
] as const)('%s on h1', async (_, steps, status, code) => {
  const { text, closedMs } = await raw({ port: edge.httpPort, steps })
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(text).toMatch(/\r\nconnection: close\r\n/i)
  expect(closedMs).not.toBeNull()
  expect(await logged(edge, code)).toBe(true)
})

test('headerTimeout is kept to within a second', async () => {
  const { closedMs } = await raw({ port: edge.httpPort, steps: ['GET / HTTP/1.1\r\n'] })
  expect(closedMs).toBeGreaterThanOrEqual(990)
  expect(closedMs).toBeLessThan(2500)
})

test('keepAliveIdleTimeout closes without a word', async () => {
  const { text, closedMs } = await raw({ port: edge.httpPort, steps: [get()] })
  expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1)
  expect(closedMs).toBeGreaterThanOrEqual(1990)
})

test('requestsPerConnectionMax is announced on the last response', async () => {
  const { text, closedMs } = await raw({ port: edge.httpPort, steps: [get() + get() + get()] })
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(3)
  expect(text.match(/connection: close/gi)).toHaveLength(1)
  expect(closedMs).toBeLessThan(1900)
})

test('handshakeTimeout ends a connection that says nothing', async () => {
  const { closedMs } = await raw({ port: edge.httpsPort, steps: [] })
  expect(closedMs).toBeGreaterThanOrEqual(990)
  expect(await logged(edge, 'HANDSHAKE_TIMEOUT')).toBe(true)
})

test('a client that takes nothing of its response is cut after bodyIdleTimeout', async () => {
  const socket = connect(edge.httpPort, '127.0.0.1').pause()
  socket.on('error', () => undefined)
  socket.write('GET /download?bytes=90000000 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  expect(await logged(edge, '"bytes=90000000"')).toBe(true)
  expect(await logged(edge, 'REQUEST_TOO_SLOW')).toBe(true)
  socket.destroy()
})

describe('the same limits on h2 and h3', () => {
  test('headerCountMax on h2', async () => {
    const session = connectH2(`https://localhost:${edge.httpsPort}`, { rejectUnauthorized: false })
    session.on('error', () => undefined)
    const many = Array.from({ length: 11 }, (_, at) => [`x-${at}`, 'v'])
    const stream = session.request({ ':path': '/h2', ...Object.fromEntries(many) })
    const status = await new Promise((resolve) => {
      stream.on('response', (headers) => resolve(headers[':status']))
      stream.on('error', resolve)
    })
    expect(status).toBe(431)
    session.destroy()
  })

  test('headerCountMax on h3', async () => {
    const client = new H3Client(edge.httpsPort)
    const headers = Array.from({ length: 11 }, (_, at) => [`x-${at}`, 'v'] as const)
    const ask = { method: 'GET', path: '/h3', authority: 'localhost', headers }
    const answer = await client.request(ask)
    expect(answer.status).toBe(431)
    client.close()
  }, 120_000)
})

describe('places for connections', () => {
  test('connectionsPerAddressMax', async () => {
    const sockets: Socket[] = []
    let closed = 0
    for (let at = 0; at < 30; at += 1) {
      const socket = connect(edge.httpPort, '127.0.0.1')
      socket.on('close', () => (closed += 1)).on('error', () => undefined)
      sockets.push(socket.resume())
    }
    expect(await eventually(() => closed >= 10)).toBe(true)
    expect(await logged(edge, 'ADDRESS_CONNECTIONS_EXCEEDED')).toBe(true)
    for (const socket of sockets) socket.destroy()
    await sleep(50)
    const { text } = await raw({ port: edge.httpPort, steps: [get()], until: /hello/ })
    expect(text).toMatch(/^HTTP\/1.1 200/)
  })

  test('connectionsMax, pressure and connectionAgeMax', async () => {
    const small = await startEdge({
      arguments: ['--backend', backend.url, '--no-redirect', '--waf', 'off'],
      environment: environment({
        CONNECTIONS_MAX: '5',
        PRESSURE_PERCENT: '60',
        KEEP_ALIVE_IDLE_TIMEOUT_UNDER_PRESSURE: '500ms',
        CONNECTION_AGE_MAX: '1s',
      }),
    })
    const port = small.httpPort
    try {
      const old = await raw({ port, steps: [get(), 1200, get()], waitMs: 3000 })
      expect(old.text.match(/HTTP\/1\.1 200/g)?.length).toBeLessThanOrEqual(2)
      expect(old.closedMs).toBeLessThan(2500)
      const calm = raw({ port, steps: [get()], waitMs: 900 })
      const sockets = [0, 1, 2, 3, 4, 5].map(() => connect(port, '127.0.0.1').resume())
      for (const socket of sockets) socket.on('error', () => undefined)
      expect(await logged(small, 'TOO_MANY_CONNECTIONS')).toBe(true)
      expect((await calm).closedMs).not.toBeNull()
      for (const socket of sockets) socket.destroy()
    } finally {
      await small.stop()
    }
  })

  test('with few descriptors connections are refused, nothing spins, and it recovers', async () => {
    const poor = await startEdge({
      arguments: ['--backend', backend.url, '--no-redirect', '--waf', 'off'],
      environment: environment({ CONNECTIONS_PER_ADDRESS_MAX: '1000' }),
      descriptors: 256,
    })
    try {
      const sockets = Array.from({ length: 300 }, () => connect(poor.httpPort, '127.0.0.1'))
      for (const socket of sockets) socket.on('error', () => undefined).resume()
      expect(await logged(poor, 'TOO_MANY_CONNECTIONS')).toBe(true)
      const before = processorMs(poor.process.pid ?? 0)
      await sleep(1000)
      expect(processorMs(poor.process.pid ?? 0) - before).toBeLessThan(500)
      for (const socket of sockets) socket.destroy()
      await sleep(200)
      const { text } = await raw({ port: poor.httpPort, steps: [get()], until: /hello/ })
      expect(text).toMatch(/^HTTP\/1.1 200/)
    } finally {
      await poor.stop()
    }
  })
})

describe('with a WAF', () => {
  test('inspectedBodiesMax is one budget, and inspected bodies keep their limits', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'edge-limits-'))
    const rule = join(directory, 'rule.conf')
    const file = join(directory, 'edge.yaml')
    writeFileSync(rule, `SecRule ARGS:q "@streq bad" "id:1,phase:2,deny,status:403"\n`)
    writeFileSync(
      file,
      `upstreams: [{ name: app, endpoints: [{ url: '${backend.url}' }] }]
routes: [{ name: all, upstream: app, inspectMax: 1000B }]
limits: { inspectedBodiesMax: 1000B }\n`,
    )
    const inspecting = await startEdge({
      arguments: ['--config', file, '--no-redirect', '--waf-setup', rule],
      environment: environment(limits),
    })
    const form = 'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 900'
    try {
      const port = inspecting.httpPort
      const half = `${post(form)}q=${'a'.repeat(600)}`
      const [first, second] = await Promise.all([
        raw({ port, steps: [half, 700, 'a'.repeat(298)], until: /aaaa/ }),
        raw({ port, steps: [300, half], waitMs: 3000 }),
      ])
      expect(first.text).toMatch(/^HTTP\/1.1 200/)
      expect(second.text).toMatch(/^HTTP\/1.1 503/)
      expect(await logged(inspecting, 'BODY_BUDGET_EXHAUSTED')).toBe(true)
      const slow = await raw({ port, steps: [post(form), ...drops] })
      expect(slow.text).toMatch(/^HTTP\/1.1 408/)
      expect(await logged(inspecting, 'REQUEST_TOO_SLOW')).toBe(true)
      const many = await raw({ port, steps: [chunked('a: 1\r\nb: 2\r\nc: 3\r\n')] })
      expect(many.text).toMatch(/^HTTP\/1.1 431/)
    } finally {
      await inspecting.stop()
    }
  }, 40_000)
})

describe('h1 as clients use it', () => {
  test('a client that closes its side after the request gets its response', async () => {
    const steps = ['GET /slow?ms=300&parts=2 HTTP/1.1\r\nHost: localhost\r\n\r\n', FIN]
    const { text } = await raw({ port: edge.httpPort, steps })
    expect(text).toMatch(/^HTTP\/1.1 200/)
    expect(text).toMatch(/part\n[^]*part\n/)
    expect(text.endsWith('0\r\n\r\n')).toBe(true)
  })

  test('HTTP/1.0: no chunks, and the connection ends unless it is to be kept', async () => {
    const steps = ['GET /slow?ms=50&parts=1 HTTP/1.0\r\nHost: localhost\r\n\r\n']
    const { text } = await raw({ port: edge.httpPort, steps })
    expect(text).toMatch(/connection: close/i)
    expect(text).not.toMatch(/transfer-encoding/i)
    expect(text.endsWith('\r\n\r\npart\n')).toBe(true)
  })

  test('an answer before the end of a large body reaches the client', async () => {
    const body = 'x'.repeat(30_000_000)
    const steps = [post(`Content-Length: ${body.length}`), body]
    const { text } = await raw({ port: edge.httpPort, steps })
    expect(text).toMatch(/^HTTP\/1.1 413 /)
    expect(await logged(edge, 'REQUEST_BODY_TOO_LARGE')).toBe(true)
  })
})
