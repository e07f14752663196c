/**
 * How a case reaches the edge: raw bytes on h1, fields on h2 and h3. Each answers with a status (0:
 * none).
 */
import { once } from 'node:events'
import { connect as connectTls, type ClientHttp2Session } from 'node:http2'
import { connect } from 'node:net'
import { H3Client } from '../../harness/h3.ts'
import type { CaseRequest } from './cases.ts'
import { asFields, complete, onTheWire, type FieldRequest } from './request.ts'

export type Protocol = 'h1' | 'h2' | 'h3'

/** Sends one case; a string is the reason why this protocol cannot carry it. */
export interface Transport {
  send(request: CaseRequest): Promise<number | string>
  close(): void
}

/** A transport of `protocol` to the edge's ports on loopback. */
export function transport(protocol: Protocol, httpPort: number, httpsPort: number): Transport {
  if (protocol === 'h1')
    return { send: (request) => sendRaw(bytesOf(request), httpPort), close() {} }
  return protocol === 'h2' ? h2Transport(httpsPort) : h3Transport(httpsPort)
}

function bytesOf(request: CaseRequest): Buffer {
  return request.raw ?? onTheWire(complete(request))
}

/** Writes the bytes, reads until the answer is complete, the peer closes, or 3 s pass. */
async function sendRaw(bytes: Buffer, port: number): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {}) // a reset after the answer is no news; without one the status is 0
  let text = ''
  await new Promise<void>((resolve) => {
    socket.setTimeout(3_000, resolve)
    socket.once('close', () => resolve())
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (isComplete(text)) resolve()
    })
    socket.write(bytes)
  })
  socket.destroy()
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0)
}

function isComplete(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))
  if (length) return text.length >= end + 4 + Number(length[1])
  return text.endsWith('0\r\n\r\n') || / (?:204|304) /.test(text.slice(0, 16))
}

/**
 * On h2 and h3 a request of doubtful framing ends in a stream error (RFC 9113 §8.1.1), h1's 400.
 */
function refusedIs400<Answer>(status: Answer | 0): Answer | number {
  return status === 0 ? 400 : status
}

function h2Transport(port: number): Transport {
  let session: ClientHttp2Session | null = null
  const live = async (): Promise<ClientHttp2Session> => {
    if (session && !session.closed && !session.destroyed) return session
    const made = connectTls(`https://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      servername: 'localhost',
    })
    made.on('error', () => {})
    session = made
    await once(made, 'connect')
    return made
  }
  return {
    async send(request) {
      const fields = asFields(request)
      return typeof fields === 'string' ? fields : refusedIs400(await sendH2(await live(), fields))
    },
    close: () => session?.destroy(),
  }
}

async function sendH2(
  session: ClientHttp2Session,
  request: FieldRequest,
): Promise<number | string> {
  const headers: Record<string, string | string[]> = {
    ':method': request.method,
    ':path': request.path,
    ':authority': request.authority,
    ':scheme': 'https',
  }
  for (const [name, value] of request.headers) {
    if (headers[name] !== undefined) return 'node:http2 cannot repeat a field in order'
    headers[name] = value
  }
  let status = 0
  try {
    const stream = session.request(headers, { endStream: request.body.length === 0 })
    stream.setTimeout(3_000, () => stream.close())
    stream.on('response', (answer) => (status = Number(answer[':status'] ?? 0)))
    stream.on('error', () => {})
    stream.resume()
    if (request.body.length > 0) stream.end(request.body)
    if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve))
  } catch (error) {
    return `node:http2 refuses it: ${String(error)}`
  }
  return status
}

function h3Transport(port: number): Transport {
  const client = new H3Client(port)
  return {
    async send(request) {
      const fields = asFields(request)
      if (typeof fields === 'string') return fields
      return refusedIs400((await client.request(fields)).status)
    },
    close: () => client.close(),
  }
}
