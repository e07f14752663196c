/**
 * A backend for tests: reflects what it is asked for, streams downloads, and remembers what reached
 * it.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

/** One request as it reached the backend. */
export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly headers: readonly string[]
  readonly body: Buffer
}

/** A running backend. */
export interface Backend {
  readonly url: string
  readonly seen: SeenRequest[]
  close(): void
}

/** What `POST /reflect` takes, as in the CRS regression tests. */
interface Reflection {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly encodedBody?: string
}

/** Starts a backend on a free loopback port. */
export async function startBackend(): Promise<Backend> {
  const seen: SeenRequest[] = []
  const server: Server = createServer((request, response) => {
    void answer(request, response, seen)
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, seen: SeenRequest[]) {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer)
  } catch {
    return
  }
  const body = Buffer.concat(chunks)
  const url = request.url ?? ''
  if (seen.length < 10_000)
    seen.push({ method: request.method ?? '', url, headers: request.rawHeaders, body })
  if (url.startsWith('/reflect')) return reflect(body, response)
  if (url.startsWith('/download')) return download(url, response)
  if (url.startsWith('/slow')) return slow(url, response)
  if (url.startsWith('/echo')) {
    response.setHeader('content-type', 'application/octet-stream')
    response.end(body)
    return
  }
  response.setHeader('content-type', 'text/plain')
  response.end('backend says hello\n')
}

function reflect(body: Buffer, response: ServerResponse): void {
  let asked: Reflection
  try {
    asked = JSON.parse(body.toString('utf8')) as Reflection
  } catch {
    response.writeHead(400).end('not JSON')
    return
  }
  const encoded = asked.encodedBody
  const text = encoded === undefined ? (asked.body ?? '') : Buffer.from(encoded, 'base64')
  // Go's server, which the cases were written against, sniffs a type where none is given.
  if (!('content-type' in (asked.headers ?? {}))) response.setHeader('content-type', 'text/plain')
  response.writeHead(asked.status ?? 200, asked.headers ?? {}).end(text)
}

/** `/download?bytes=N`: N bytes in 64 KiB pieces, as fast as the reader takes them. */
function download(url: string, response: ServerResponse): void {
  let left = Number(new URL(url, 'http://x').searchParams.get('bytes') ?? '0')
  response.writeHead(200, { 'content-length': left, 'content-type': 'application/octet-stream' })
  const piece = Buffer.alloc(65_536, 'x')
  const push = () => {
    while (left > 0) {
      const part = piece.subarray(0, Math.min(left, piece.length))
      left -= part.length
      if (!response.write(part)) {
        response.once('drain', push)
        return
      }
    }
    response.end()
  }
  push()
}

/** `/slow?ms=N&parts=M`: M parts, N ms apart. */
function slow(url: string, response: ServerResponse): void {
  const query = new URL(url, 'http://x').searchParams
  let parts = Number(query.get('parts') ?? '1')
  response.writeHead(200, { 'content-type': 'text/plain' })
  const timer = setInterval(
    () => {
      response.write('part\n')
      parts -= 1
      if (parts <= 0) {
        clearInterval(timer)
        response.end()
      }
    },
    Number(query.get('ms') ?? '100'),
  )
}
