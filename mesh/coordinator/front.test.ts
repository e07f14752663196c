/** Whom the front takes a connection for. Its limits are tested where they are kept, in Rust. */
import { randomBytes } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { selfSigned } from '../certificate.ts'
import { type Identity, passingIdentity } from '../identity.ts'
import { AskingSocket, Front } from './front.ts'

const ticketKeys = randomBytes(48)
let own = { key: '', certificate: '' }
let node: Identity
let front: Front

const ends = { drained: () => undefined, gone: () => undefined }
/** Says who asks, with what. */
const listener: RequestListener = (request, response) => {
  const { socket, method, url, headers } = request
  const identity = socket instanceof AskingSocket ? socket.identity : 'nobody'
  if (url?.startsWith('/fault') === true) throw new Error('a fault')
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString()
    const { remoteAddress: address } = socket
    response.end(JSON.stringify({ identity, address, method, url, body, host: headers.host }))
  })
}

beforeEach(async () => {
  own = await selfSigned('P-256', 'a coordinator')
  node = await passingIdentity()
  start('127.0.0.1:0')
})
afterEach(() => front.close())

function start(address: string): void {
  front = new Front({ address, ...own, ticketKeys }, listener, ends)
}

interface Answer {
  readonly text: string
  readonly isReused: boolean
  readonly sessions: readonly Buffer[]
}

const get = 'GET /v1/a?b=%20 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'

/** Asks once, to the end of the connection. */
async function asked(more: ConnectionOptions, request = get): Promise<Answer> {
  const { hostname: host, port } = new URL(`https://${front.address}`)
  const socket: TLSSocket = connect({
    host,
    port: Number(port),
    rejectUnauthorized: false,
    ...more,
  })
  const sessions: Buffer[] = []
  let isReused = false
  socket.once('secureConnect', () => (isReused = socket.isSessionReused()))
  socket.on('session', (session: Buffer) => sessions.push(session))
  socket.write(request)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return { text, sessions, isReused }
}

const shown = (): ConnectionOptions => ({ key: node.key, cert: node.certificate })

test('a request comes as it was sent, with the key of its connection', async () => {
  const { text } = await asked(shown())
  const [head = '', body = ''] = text.split('\r\n\r\n')
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(head).toMatch(/\r\nconnection: close/i)
  const { identity } = node
  const told = { identity, address: '127.0.0.1', method: 'GET', url: '/v1/a?b=%20' }
  expect(JSON.parse(body)).toEqual({ ...told, body: '', host: 'x' })
  const post = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi'
  expect((await asked(shown(), post)).text).toContain('"body":"hi"')
})

test.for(['TLSv1.2', 'TLSv1.3'] as const)(
  'a resumed session of %s keeps its key',
  async (version) => {
    const only = { minVersion: version, maxVersion: version }
    const first = await asked({ ...shown(), ...only })
    expect(first).toMatchObject({ isReused: false, text: expect.stringContaining(node.identity) })
    // Also by another program with the same keys of tickets.
    const { address } = front
    await front.close()
    start(address)
    const session = first.sessions.at(-1)
    const again = await asked({ ...only, ...(session === undefined ? {} : { session }) })
    expect(again).toMatchObject({ isReused: true, text: expect.stringContaining(node.identity) })
  },
)

test('without an Ed25519 certificate a connection is nobody', async () => {
  const other = await selfSigned('P-256', 'somebody')
  for (const more of [{}, { key: other.key, cert: other.certificate }]) {
    expect((await asked(more)).text).toContain('"identity":null')
  }
})

test('a fault of the program is an answer, and ends nothing', async () => {
  const answer = await asked({}, get.replace('/v1/a', '/fault'))
  expect(answer.text).toMatch(/^HTTP\/1\.1 500 /)
  expect((await asked({})).text).toContain('"identity":null')
})

test('a port that is taken is a fault', () => {
  expect(() => start(front.address)).toThrow(/in use/i)
})
