/** HTTP/2 towards clients: connections that end lose nothing, and what is malformed is logged. */
import { once } from 'node:events'
import { connect, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'

let backend: Backend
let edge: RunningEdge

beforeAll(async () => {
  backend = await startBackend()
  edge = await startEdge({
    arguments: ['--backend', backend.url, '--waf', 'off'],
    environment: { EDGE_LIMITS_REQUESTS_PER_CONNECTION_MAX: '50' },
  })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
})

async function open(): Promise<ClientHttp2Session> {
  const session = connect(`https://127.0.0.1:${edge.httpsPort}`, { rejectUnauthorized: false })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

/** Status of one request, or how its stream ended. */
function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders): Promise<string> {
  return new Promise((resolve) => {
    const stream = session.request(headers)
    let status = 'none'
    stream.on('response', (head) => (status = String(head[':status'])))
    stream.on('error', () => {})
    stream.on('close', () => resolve(stream.rstCode === 0 ? status : `reset ${stream.rstCode}`))
    stream.resume()
  })
}

test('requestsPerConnectionMax ends connections without losing a request', async () => {
  let [answered, connections] = [0, 0]
  while (answered < 1000) {
    connections += 1
    const session = await open()
    const closed = new Promise((resolve) => session.on('close', resolve))
    const asked: Promise<string>[] = []
    while (!session.closed && !session.destroyed && asked.length < 200) {
      asked.push(ask(session, { ':path': `/${asked.length}` }))
      if (asked.length % 10 === 0) await asked.at(-1)
    }
    for (const outcome of await Promise.all(asked)) expect(outcome).toBe('200')
    answered += asked.length
    await closed
  }
  expect(connections).toBeGreaterThanOrEqual(5)
  expect(connections).toBeLessThanOrEqual(20)
}, 60_000)

test('a malformed request costs its stream, not the connection, and is logged', async () => {
  const session = await open()
  expect(await ask(session, { ':path': '/without a slash\u0001' })).toBe('reset 1')
  expect(await ask(session, { ':path': '/seen?a=<script>"#x', ':method': 'GET' })).not.toMatch(
    'reset',
  )
  expect(await ask(session, { ':path': '/', 'x-long': 'v'.repeat(40_000) })).toMatch(/^431|reset/)
  expect(await ask(session, { ':path': '/after' })).toBe('200')
  await expect.poll(() => edge.output(), { timeout: 10_000 }).toContain('BAD_REQUEST')
  session.close()
}, 60_000)

test('an upload larger than all windows arrives whole', async () => {
  const session = await open()
  const stream = session.request({ ':path': '/echo', ':method': 'POST' })
  const body = Buffer.alloc(3_000_000, 'abc')
  stream.end(body)
  const pieces: Buffer[] = []
  for await (const piece of stream) pieces.push(piece as Buffer)
  expect(Buffer.concat(pieces).equals(body)).toBe(true)
  session.close()
}, 60_000)
