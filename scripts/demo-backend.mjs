// The backend of `npm start`, on loopback: a page that shows what arrived, an echo, downloads.
import { createServer } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { isMain } from './paths.mjs'

const echoBytesMax = 1024 * 1024
const downloadBytesMax = 1024 ** 3

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto}
code,td{font:14px ui-monospace,monospace}td{padding:.15rem 1rem .15rem 0;vertical-align:top;
overflow-wrap:anywhere}h1{font-size:1.4rem}.via{color:#0a6}`

function escape(text) {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
}

/** The protocol of the client, as the proxy names it in Via (`3.0 edge`). */
function protocolOf(request) {
  const version = /^(\d(?:\.\d)?) /.exec(request.headers.via ?? '')?.[1]
  return version === undefined ? 'unknown protocol' : `HTTP/${version}`
}

function page(request) {
  const rows = []
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const [name, value] = request.rawHeaders.slice(i, i + 2).map(escape)
    rows.push(`<tr><td>${name}<td>${value}`)
  }
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>It works</title>
<style>${style}</style><h1>It works: quic-proxy-waf → demo backend</h1>
<p>You came over <strong class="via">${escape(protocolOf(request))}</strong>;
the proxy asked this backend for <code>${escape(`${request.method} ${request.url}`)}</code> with:
<table>${rows.join('\n')}</table></html>\n`
}

function send(response, status, type, body) {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

function echo(request, response) {
  const pieces = []
  let bytes = 0
  request.on('data', (piece) => {
    bytes += piece.length
    if (bytes <= echoBytesMax) pieces.push(piece)
  })
  request.on('end', () => {
    if (bytes > echoBytesMax) return send(response, 413, 'text/plain', 'at most 1 MiB\n')
    const type = request.headers['content-type'] ?? 'application/octet-stream'
    return send(response, 200, type, Buffer.concat(pieces))
  })
}

function download(url, response) {
  const wanted = Number(url.searchParams.get('bytes') ?? 1_048_576)
  if (!Number.isInteger(wanted) || wanted < 0 || wanted > downloadBytesMax) {
    return send(response, 400, 'text/plain', `bytes: 0 to ${downloadBytesMax}\n`)
  }
  const piece = Buffer.alloc(65_536, '0123456789abcdef')
  function* body() {
    for (let left = wanted; left > 0; left -= piece.length) {
      yield left >= piece.length ? piece : piece.subarray(0, left)
    }
  }
  const headers = { 'content-type': 'application/octet-stream', 'content-length': wanted }
  response.writeHead(200, headers)
  // A client that goes away ends the pipeline; there is nothing to tell it.
  return pipeline(Readable.from(body()), response, () => {})
}

/** A server on a free port of the loopback address; resolves when it listens. */
export function startBackend(port = 0) {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://demo')
    if (url.pathname === '/echo') return echo(request, response)
    if (url.pathname === '/download') return download(url, response)
    request.resume()
    return send(response, 200, 'text/html; charset=utf-8', page(request))
  })
  server.keepAliveTimeout = 75_000
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

if (isMain(import.meta.url)) {
  const server = await startBackend(Number(process.argv[2] ?? 0))
  console.log(`http://127.0.0.1:${server.address().port}`)
  // Whoever started us holds our stdin; when it is gone, so are we.
  process.stdin.resume().on('end', () => process.exit(0))
}
