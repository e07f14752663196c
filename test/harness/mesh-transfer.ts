/**
 * Bytes through a mesh, both ways at once. `serve NAME`: an HTTP server that answers each request
 * with as many bytes as its path says, and tells what it got. `ask URL VERSION UP DOWN`: sends UP
 * bytes and reads DOWN, and prints one line of JSON.
 */
import { createHash, type Hash } from 'node:crypto'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Its port. */
export const transferPort = 8080

/** What a transfer came to; `null` where the other side did not say. */
export interface Transferred {
  readonly status: number
  readonly node: string | null
  /** Whether the server got what was sent. */
  readonly isWhole: boolean
  /** Bytes that came back, and whether they are the right ones. */
  readonly bytes: number
  readonly isRight: boolean
}

const blockBytes = 64 * 1024

/** The same bytes for the same length, everywhere; not the same in every block. */
function* pattern(length: number): Generator<Buffer> {
  for (let at = 0; at < length; at += blockBytes) {
    const block = Buffer.alloc(Math.min(blockBytes, length - at), `${at} ${length};`)
    yield block
  }
}

function hashOf(length: number): string {
  const hash = createHash('sha256')
  for (const block of pattern(length)) hash.update(block)
  return hash.digest('hex')
}

async function digest(stream: AsyncIterable<Buffer>, hash: Hash): Promise<number> {
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    hash.update(chunk)
  }
  return bytes
}

function serve(name: string): void {
  const server = createServer((request, response) => {
    const down = Number(request.url?.slice(1))
    const hash = createHash('sha256')
    response.writeHead(200, { 'x-node': name, 'content-type': 'application/octet-stream' })
    const sending = pipeline(Readable.from(pattern(down)), response, { end: false })
    Promise.all([digest(request, hash), sending]).then(
      () => response.end(hash.digest('hex')),
      () => response.destroy(),
    )
  })
  server.listen(transferPort, '::', () => console.log('ready'))
}

const digestBytes = 64

/** Reads an answer: the bytes, and then what the server says of ours. */
async function read(stream: AsyncIterable<Buffer>, up: number, down: number) {
  const hash = createHash('sha256')
  let bytes = 0
  let told = ''
  for await (const chunk of stream) {
    const own = chunk.subarray(0, Math.max(0, down - bytes))
    hash.update(own)
    told += chunk.subarray(own.length).toString('latin1')
    bytes += chunk.length
  }
  const isRight = bytes === down + digestBytes && hash.digest('hex') === hashOf(down)
  return { isWhole: told === hashOf(up), bytes: bytes - told.length, isRight }
}

async function ask1(url: string, up: number, down: number): Promise<Transferred> {
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  const sent = send(`${url}${down}`, { method: 'PUT', rejectUnauthorized: false })
  const answered = Promise.withResolvers<IncomingMessage>()
  sent.on('response', answered.resolve)
  sent.on('error', answered.reject)
  const sending = pipeline(Readable.from(pattern(up)), sent)
  sending.catch(() => undefined) // the answer says what went wrong
  const response = await answered.promise
  const node = response.headers['x-node']
  const got = await read(response, up, down)
  return {
    status: response.statusCode ?? 0,
    node: node === undefined ? null : String(node),
    ...got,
  }
}

async function ask2(url: string, up: number, down: number): Promise<Transferred> {
  const session = connectHttp2(url, { rejectUnauthorized: false })
  const failed = Promise.withResolvers<never>()
  session.on('error', failed.reject)
  const stream = session.request({ ':method': 'PUT', ':path': `/${down}` })
  const answered = Promise.withResolvers<{ status: number; node: string | null }>()
  stream.on('response', (headers) => {
    const node = headers['x-node']
    const status = Number(headers[':status'])
    answered.resolve({ status, node: node === undefined ? null : String(node) })
  })
  stream.on('error', answered.reject)
  const sending = pipeline(Readable.from(pattern(up)), stream, { end: true })
  sending.catch(() => undefined)
  try {
    const head = await Promise.race([answered.promise, failed.promise])
    return { ...head, ...(await read(stream, up, down)) }
  } finally {
    session.close()
  }
}

if (process.argv[1] === import.meta.filename) {
  const [role = '', first = '', version = '', up = '', down = ''] = process.argv.slice(2)
  if (role === 'serve') serve(first)
  else {
    const ask = version === '2' ? ask2 : ask1
    console.log(JSON.stringify(await ask(first, Number(up), Number(down))))
  }
}
