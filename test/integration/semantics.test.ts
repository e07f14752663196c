/**
 * What HTTP means beyond heads and bodies, end to end: interim responses, trailers, 100 Continue,
 * HEAD, ranges and pipelining, from clients over h1, h2 and h3 to backends over HTTP/1.1 and h2c.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { H3Client } from '../harness/h3.ts'

const directory = mkdtempSync(join(tmpdir(), 'edge-semantics-'))
const servers: Server[] = []
let edge: RunningEdge
let h3: H3Client
/** Connections to the backend over HTTP/1.1. */
let connections = 0

const hint = '</a.css>; rel=preload'
const range = { 'content-range': 'bytes 2-5/10', 'content-length': '4' }

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  let length = 0
  for await (const piece of request) length += (piece as Buffer).length
  const end = (text: string) => response.end(text)
  const url = request.url ?? ''
  switch (url) {
    case '/hints':
      response.writeEarlyHints({ link: hint })
      end('hinted')
      return
    case '/trailers':
      response.setHeader('trailer', 'x-checksum-a, x-private')
      response.write('with trailers')
      response.addTrailers({ 'x-checksum-a': 'sum', 'x-private': 'not for the client' })
      response.end()
      return
    case '/range':
      response.writeHead(request.headers.range === 'bytes=2-5' ? 206 : 200, range)
      end('2345')
      return
    case '/head':
      response.setHeader('content-length', '1234')
      end('')
      return
    case '/upload':
      end(JSON.stringify({ length, trailers: request.trailers }))
      return
    default:
      // The later it is asked, the sooner it answers: order is the edge's to keep.
      await sleep(50 - 5 * Number(url.slice(1)))
      end(`[${url}]`)
  }
}

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

beforeAll(async () => {
  const plain = http.createServer((request, response) => void answer(request, response))
  plain.on('connection', () => (connections += 1))
  const h2c = http2.createServer((request, response) => {
    // Node's HTTP/2 offers what its HTTP/1.1 does, and more.
    void answer(
      request as unknown as http.IncomingMessage,
      response as unknown as http.ServerResponse,
    )
  })
  const urls = { plain: await listen(plain), h2c: await listen(h2c) }
  const upstreams = Object.entries(urls).map(([name, port]) => ({
    name,
    protocol: name === 'h2c' ? 'http2' : 'http1',
    endpoints: [{ url: `http://127.0.0.1:${port}` }],
  }))
  const routes = ['plain', 'h2c'].map((name) => ({ name, hosts: [`${name}.test`], upstream: name }))
  const file = join(directory, 'edge.yaml')
  writeFileSync(file, JSON.stringify({ upstreams, routes }))
  const flags = ['--config', file, '--no-redirect', '--waf', 'off', '--wire-threads', '1']
  edge = await startEdge({ arguments: flags })
  h3 = new H3Client(edge.httpsPort)
}, 120_000)

afterAll(async () => {
  h3.close()
  const code = await edge.stop()
  for (const server of servers) server.close()
  rmSync(directory, { recursive: true, force: true })
  expect(code).toBe(0)
}, 60_000)

interface Asked {
  readonly host: string
  readonly path: string
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly pieces?: readonly string[]
  readonly trailers?: Record<string, string>
}

interface Answer {
  readonly status: number
  readonly interim: readonly number[]
  /** Of all sections, the interim ones included. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly trailers: Readonly<Record<string, unknown>>
  readonly body: string
}

async function overH1({ host, path, pieces = [], ...asked }: Asked): Promise<Answer> {
  const method = asked.method ?? 'GET'
  const headers = { host: `${host}.test`, te: 'trailers', connection: 'te', ...asked.headers }
  const request = http.request({ port: edge.httpPort, agent: false, path, method, headers })
  const interim: number[] = []
  let fields: Record<string, unknown> = {}
  request.on('information', (head) => {
    interim.push(head.statusCode)
    fields = { ...fields, ...head.headers }
  })
  const answered = once(request, 'response') as Promise<[http.IncomingMessage]>
  if ('expect' in headers) {
    request.flushHeaders()
    await once(request, 'continue')
  }
  for (const piece of pieces) request.write(piece)
  if (asked.trailers) request.addTrailers(asked.trailers)
  request.end()
  const [response] = await answered
  let body = ''
  for await (const piece of response) body += String(piece)
  fields = { ...fields, ...response.headers }
  return { status: response.statusCode ?? 0, interim, fields, trailers: response.trailers, body }
}

async function overH2({ host, path, pieces = [], ...asked }: Asked): Promise<Answer> {
  const url = `https://localhost:${edge.httpsPort}`
  const session = http2.connect(url, { rejectUnauthorized: false })
  const head = { ':method': asked.method ?? 'GET', ':path': path, ':authority': `${host}.test` }
  const endStream = pieces.length === 0
  const waitForTrailers = asked.trailers !== undefined
  const stream = session.request({ ...head, ...asked.headers }, { endStream, waitForTrailers })
  const interim: number[] = []
  let fields: Record<string, unknown> = {}
  let trailers: Record<string, unknown> = {}
  stream.on('headers', (found) => {
    interim.push(Number(found[':status']))
    fields = { ...fields, ...found }
  })
  stream.on('trailers', (found) => (trailers = found))
  stream.on('wantTrailers', () => stream.sendTrailers(asked.trailers ?? {}))
  let status = 0
  stream.on('response', (found) => {
    status = Number(found[':status'])
    fields = { ...fields, ...found }
  })
  for (const piece of pieces) stream.write(piece)
  if (!endStream) stream.end()
  let body = ''
  for await (const piece of stream) body += String(piece)
  session.close()
  return { status, interim, fields, trailers, body }
}

async function overH3({ host, path, pieces = [], ...asked }: Asked): Promise<Answer> {
  const { headers, body, error } = await h3.request({
    method: asked.method ?? 'GET',
    path,
    authority: `${host}.test`,
    headers: Object.entries(asked.headers ?? {}),
    body: Buffer.from(pieces.join('')),
  })
  expect(error).toBeNull()
  // The client keeps the fields of all sections in one list.
  const statuses = headers.filter(([name]) => name === ':status').map(([, value]) => Number(value))
  const fields = Object.fromEntries(headers)
  const status = statuses.at(-1) ?? 0
  return { status, interim: statuses.slice(0, -1), fields, trailers: fields, body: String(body) }
}

const clients = { h1: overH1, h2: overH2, h3: overH3 }
const hosts = ['plain', 'h2c']
const ways = Object.entries(clients).flatMap(([name, ask]) =>
  hosts.map((host) => [`${name} to ${host}`, host, ask] as const),
)

describe.each(ways)('%s', (name, host, ask) => {
  test('103 passes before the answer, with its fields', async () => {
    const answered = await ask({ host, path: '/hints' })
    expect(answered).toMatchObject({ status: 200, interim: [103], body: 'hinted' })
    expect(answered.fields['link']).toBe(hint)
  })

  test('trailers of the response arrive, those that nobody knows do not', async () => {
    const { trailers, ...answered } = await ask({ host, path: '/trailers' })
    expect(answered).toMatchObject({ status: 200, body: 'with trailers' })
    expect(trailers['x-checksum-a']).toBe('sum')
    expect(trailers).not.toHaveProperty('x-private')
  })

  // aioquic takes the length that an answer to HEAD announces for that of its DATA.
  if (!name.startsWith('h3'))
    test('HEAD has the length and no body', async () => {
      const answered = await ask({ host, path: '/head', method: 'HEAD' })
      expect(answered).toMatchObject({ status: 200, body: '' })
      expect(answered.fields['content-length']).toBe('1234')
    })

  test('a range is asked for and passes', async () => {
    const answered = await ask({ host, path: '/range', headers: { range: 'bytes=2-5' } })
    expect(answered).toMatchObject({ status: 206, body: '2345', fields: range })
  })

  // aioquic has no way to send trailers; test/interop has.
  const sendsTrailers = !name.startsWith('h3')
  test(sendsTrailers ? 'an upload with trailers' : 'an upload', async () => {
    const asked = { host, path: '/upload', method: 'POST', pieces: ['one', 'two', 'three'] }
    const trailers = { 'x-checksum-a': 'sum', 'x-private': 'not for the backend' }
    const headers = name.startsWith('h1') ? { trailer: 'x-checksum-a' } : {}
    const sent = sendsTrailers ? { headers, trailers } : {}
    const { status, body } = await ask({ ...asked, ...sent })
    expect(status).toBe(200)
    const passed = sendsTrailers ? { 'x-checksum-a': 'sum' } : {}
    expect(JSON.parse(body)).toEqual({ length: 11, trailers: passed })
  })
})

describe.each(hosts)('h1 to %s', (host) => {
  test('a streamed upload waits for 100 Continue, which comes once', async () => {
    const headers = { expect: '100-continue', 'transfer-encoding': 'chunked' }
    const pieces = Array.from({ length: 20 }, () => 'x'.repeat(10_000))
    const answered = await overH1({ host, path: '/upload', method: 'POST', headers, pieces })
    expect(answered).toMatchObject({ status: 200, interim: [100] })
    expect(JSON.parse(answered.body)).toMatchObject({ length: 200_000 })
  })

  test('ten requests in one packet are answered in their order', async () => {
    const targets = Array.from({ length: 10 }, (_, index) => `/${index}`)
    const socket = connect(edge.httpPort, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => (text += String(chunk)))
    const requests = targets.map((target, index) => {
      const last = index === targets.length - 1 ? 'connection: close\r\n' : ''
      return `GET ${target} HTTP/1.1\r\nhost: ${host}.test\r\n${last}\r\n`
    })
    socket.write(requests.join(''))
    await once(socket, 'close')
    expect(text.match(/HTTP\/1\.1 200 /g)).toHaveLength(10)
    expect(text.match(/\[\/\d\]/g)).toEqual(targets.map((target) => `[${target}]`))
  })
})

test('a POST takes no connection that has been idle for a second, a GET does', async () => {
  const asked = { host: 'plain', path: '/9' }
  await overH1(asked)
  const before = connections
  await overH1({ ...asked, method: 'POST' })
  expect(connections).toBe(before)
  await sleep(1100)
  await overH1(asked)
  expect(connections).toBe(before)
  await sleep(1100)
  await overH1({ ...asked, method: 'POST' })
  expect(connections).toBe(before + 1)
})
