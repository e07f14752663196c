import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { selfSigned } from './certificate.ts'
import { PinnedPlace } from './pinned.ts'
import { pinOf } from './token.ts'

let server: Server
let place: PinnedPlace
let url = ''
let pin = ''
let heard = ''
let answer: (socket: TLSSocket) => void = () => undefined
const reused: boolean[] = []

beforeEach(async () => {
  const own = await selfSigned('P-256', 'test')
  pin = pinOf(new X509Certificate(own.certificate))
  heard = ''
  reused.length = 0
  server = createServer({ key: own.key, cert: own.certificate }, (socket) => {
    reused.push(socket.isSessionReused())
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      heard += bytes.toString()
      answer(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as AddressInfo
  url = `https://127.0.0.1:${address.port}`
  place = new PinnedPlace(url, pin, null)
})

afterEach(async () => {
  place.close()
  server.close()
  await once(server, 'close')
})

const signal = new AbortController().signal
const ask = (at: PinnedPlace, body = 'a secret') =>
  at.ask({ method: 'POST', path: '/v1/join', headers: {}, body, signal })

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

test('a question is answered, and the next one resumes the session', async () => {
  answer = (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine')
  for (const isResumed of [false, true]) {
    const answered = await ask(place)
    expect(answered.statusCode).toBe(200)
    expect(await textOf(answered)).toBe('fine')
    expect(reused.at(-1)).toBe(isResumed)
  }
  expect(heard).toContain('POST /v1/join HTTP/1.1')
  expect(heard).toContain('a secret')
})

test('another one than the pinned coordinator hears nothing', async () => {
  const other = new PinnedPlace(url, 'x'.repeat(43), null)
  await expect(ask(other)).rejects.toMatchObject({ code: 'COORDINATOR_OTHER' })
  expect(heard).toBe('')
})

test('an answer that breaks off is none', async () => {
  answer = (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nhalf')
  const answered = await ask(place)
  await expect(textOf(answered)).rejects.toThrow()
  answer = (socket) => socket.end('no HTTP at all\r\n\r\n')
  await expect(ask(place)).rejects.toThrow('Parse Error')
})

test('what waits ends with the client, and by its signal', async () => {
  const told = Promise.withResolvers<void>()
  answer = () => told.resolve()
  const waits = expect(ask(place)).rejects.toThrow('the client was closed')
  await told.promise
  place.close()
  await waits
  await expect(ask(place)).rejects.toThrow('the client was closed')

  const ending = new AbortController()
  const other = new PinnedPlace(url, pin, null)
  const again = Promise.withResolvers<void>()
  answer = () => again.resolve()
  const question = { method: 'GET', path: '/', headers: {}, signal: ending.signal } as const
  const ends = expect(other.ask(question)).rejects.toMatchObject({ name: 'AbortError' })
  await again.promise
  ending.abort()
  await ends
})
