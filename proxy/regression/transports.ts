/** How a case reaches a server: raw bytes on HTTP/1.1, fields on HTTP/2. */
import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2'
import { type Socket, connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { hostPortText } from '../host-port.ts'
import type { CaseRequest } from './cases.ts'
import { type FieldRequest, asFields, complete, onTheWire } from './wire-request.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** Sends one case: the status (0: none), or the reason why the protocol cannot carry it. */
export interface Transport {
  send(request: CaseRequest): Promise<number | string>
  close(): void
}

/** Where a server listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

/** Nobody answers there: no result of any case. */
export class Unreachable extends Error {}

/** Longest wait for a connection or for the next bytes of an answer. */
const answerTimeoutMs = 3_000

/** One connection for each request, because half of the cases leave theirs in doubt. */
export function h1Transport(address: ServerAddress): Transport {
  return {
    send: (request) => sendRaw(request.raw ?? onTheWire(complete(request)), address),
    close() {},
  }
}

/** Writes the bytes, reads until the answer is complete, the peer closes, or nothing comes. */
async function sendRaw(bytes: Buffer, address: ServerAddress): Promise<number> {
  const socket = await opened(address)
  let text = ''
  await new Promise<void>((resolve) => {
    socket.setTimeout(answerTimeoutMs, resolve)
    socket.once('close', () => resolve())
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (isComplete(text)) resolve()
    })
    socket.write(bytes)
  })
  socket.destroy()
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0)
}

/** Rejects with `Unreachable` when nobody listens. */
async function opened({ host, port, tls }: ServerAddress): Promise<Socket> {
  // A test may well be run against a local CA, and sends no secrets.
  const options = { host, port, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }
  const socket = tls
    ? connectTls({ ...options, ...serverName(host) })
    : connectTcp({ host, port, noDelay: true })
  try {
    await once(socket, tls ? 'secureConnect' : 'connect', {
      signal: AbortSignal.timeout(answerTimeoutMs),
    })
  } catch (error) {
    socket.destroy()
    throw new Unreachable(`no connection to ${host} port ${port}`, { cause: error })
  }
  socket.on('error', () => {}) // a reset after the answer is no news; without one the status is 0
  return socket
}

/** SNI names hosts, not addresses (RFC 6066 §3). */
function serverName(host: string): { servername?: string } {
  return /^[\d.]+$|:/.test(host) ? {} : { servername: host }
}

function isComplete(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))
  if (length) return text.length >= end + 4 + Number(length[1])
  return text.endsWith('0\r\n\r\n') || / (?:204|304) /.test(text.slice(0, 16))
}

/**
 * On HTTP/2 and HTTP/3 a request of doubtful framing ends in a stream error (RFC 9113 §8.1.1): what
 * is 400 on HTTP/1.1.
 */
export function refusedIs400(status: number): number {
  return status === 0 ? 400 : status
}

/** One connection for all requests. */
export function h2Transport(address: ServerAddress): Transport {
  let session: ClientHttp2Session | null = null
  const live = async (): Promise<ClientHttp2Session> => {
    if (session !== null && !session.closed && !session.destroyed) return session
    session = await openedH2(address)
    return session
  }
  return {
    async send(request) {
      const fields = asFields(request)
      if (typeof fields === 'string') return fields
      const status = await sendH2(await live(), fields)
      return typeof status === 'string' ? status : refusedIs400(status)
    },
    close: () => session?.destroy(),
  }
}

async function openedH2({ host, port, tls }: ServerAddress): Promise<ClientHttp2Session> {
  const session = connectH2(`${tls ? 'https' : 'http'}://${hostPortText({ host, port })}`, {
    rejectUnauthorized: false,
    ...serverName(host),
  })
  try {
    await once(session, 'connect', { signal: AbortSignal.timeout(answerTimeoutMs) })
  } catch (error) {
    session.destroy()
    throw new Unreachable(`no HTTP/2 connection to ${host} port ${port}`, { cause: error })
  }
  session.on('error', () => {})
  return session
}

async function sendH2(
  session: ClientHttp2Session,
  request: FieldRequest,
): Promise<number | string> {
  const pseudo: [string, string][] = [
    [':method', request.method],
    [':path', request.path],
    [':authority', request.authority],
    [':scheme', session.encrypted === true ? 'https' : 'http'],
  ]
  let status = 0
  try {
    // As a list, names may come more than once and keep their order.
    const fields = [...pseudo, ...request.headers].flat()
    const stream = session.request(fields, { endStream: request.body.length === 0 })
    stream.setTimeout(answerTimeoutMs, () => stream.close())
    stream.on('response', (answer) => (status = answer[':status'] ?? 0))
    stream.on('error', () => {})
    stream.resume()
    if (request.body.length > 0) stream.end(request.body)
    if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve))
  } catch (error) {
    return `node:http2 refuses it: ${reasonOf(error)}`
  }
  return status
}
