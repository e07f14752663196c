/** Between the edge and its endpoints: TLS, HTTP/2, retries, early answers, cancelled work. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { freePort, startEdge, type RunningEdge } from '../harness/edge.ts'

const directory = mkdtempSync(join(tmpdir(), 'edge-upstream-'))
const servers: Server[] = []
let edge: RunningEdge

/** A certificate that is its own authority. */
function certificate(name: string): { cert: string; key: string } {
  const files = { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`]
  const out = ['-days', '2', '-keyout', files.key, '-out', files.cert]
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, ...out], { stdio: 'ignore' })
  return files
}

const pem = ({ cert, key }: { cert: string; key: string }) => ({
  cert: readFileSync(cert),
  key: readFileSync(key),
})

/** What the HTTP/2 backend saw. */
const seen = {
  paths: [] as string[],
  sessions: 0,
  resets: [] as number[],
  clientNames: [] as string[],
  alpn: [] as string[],
}
/** The sessions of the backend that says GOAWAY. */
let refusals = 0

function answerStream(stream: http2.ServerHttp2Stream, fields: http2.IncomingHttpHeaders): void {
  const path = String(fields[':path'])
  seen.paths.push(path)
  stream.on('error', () => {})
  stream.on('close', () => path === '/hang' && seen.resets.push(stream.rstCode))
  if (path === '/hang') return
  if (path === '/refuse' && refusals++ === 0) {
    stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
    return
  }
  if (path === '/reset') {
    stream.respond({ ':status': 200 })
    stream.write('begun', () => stream.destroy(new Error('on purpose')))
    return
  }
  if (path === '/early') {
    stream.respond({ ':status': 413 })
    stream.end('too much')
    return
  }
  if (path === '/soon') {
    stream.respond({ ':status': 200 })
    stream.end('soon')
    return
  }
  if (path === '/hints') stream.additionalHeaders({ ':status': 103, link: '</a.css>' })
  if (path === '/download') {
    stream.respond({ ':status': 200, 'content-length': String(8 << 20) })
    for (let sent = 0; sent < 8; sent += 1) stream.write(Buffer.alloc(1 << 20, 'x'))
    stream.end()
    return
  }
  stream.respond({
    ':status': 200,
    'x-te': String(fields['te'] ?? ''),
    'x-host': String(fields[':authority']),
  })
  stream.pipe(stream)
}

async function listen<S extends Server>(server: S): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function startBackends() {
  const good = certificate('good.test')
  const other = certificate('other.test')
  const client = certificate('client.test')
  const h2c = http2.createServer().on('stream', answerStream)
  h2c.on('session', () => (seen.sessions += 1))
  const secure = http2.createSecureServer({ ...pem(good), allowHTTP1: true })
  secure.on('secureConnection', (socket) => seen.alpn.push(String(socket.alpnProtocol)))
  secure.on('request', (request, response) => response.end(`HTTP/${request.httpVersion}`))
  const asks = { requestCert: true, rejectUnauthorized: true, ca: pem(client).cert }
  const mutual = createTlsServer({ ...pem(good), ...asks }, (socket) => {
    seen.clientNames.push(String(socket.getPeerCertificate().subject?.CN))
    socket.on('error', () => {})
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
  })
  const old = createTlsServer({
    ...pem(good),
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
    minVersion: 'TLSv1',
  })
  const plain = http.createServer((request, response) => {
    if (request.url === '/hints') response.writeEarlyHints({ link: '</a.css>' })
    if (request.url === '/early') {
      response.writeHead(413).end('too much')
      return
    }
    if (request.url === '/soon') {
      response.writeHead(200).end('soon')
      return
    }
    request.resume()
    request.on('end', () => response.end(`plain ${String(request.headers['te'] ?? '')}`))
  })
  const ports = {
    h2c: await listen(h2c),
    secure: await listen(secure as unknown as Server),
    mutual: await listen(mutual),
    old: await listen(old),
    plain: await listen(plain),
    dead: await freePort(),
  }
  return { good, other, client, ports }
}

beforeAll(async () => {
  const { good, other, client, ports } = await startBackends()
  const trusted = `caFile: ${good.cert}, serverName: good.test`
  const endpoints = (urls: string[]) => urls.map((url) => `{ url: "${url}" }`).join(', ')
  const upstream = (name: string, urls: string[], rest = '') =>
    `  - { name: ${name}, endpoints: [${endpoints(urls)}], ${rest}` +
    ' connectTimeout: 2s, firstByteTimeout: 2s, ejection: { consecutiveFailures: 0 } }'
  const https = (port: number) => [`https://127.0.0.1:${port}`]
  const own = `clientCertFile: ${client.cert}, clientKeyFile: ${client.key}`
  const upstreams = [
    upstream('h2c', [`http://127.0.0.1:${ports.h2c}`], 'protocol: http2,'),
    upstream('tls', https(ports.secure), `tls: { ${trusted} },`),
    upstream('tls1', https(ports.secure), `protocol: http1, tls: { ${trusted} },`),
    upstream(
      'untrusted',
      https(ports.secure),
      `tls: { caFile: ${other.cert}, serverName: good.test },`,
    ),
    upstream(
      'misnamed',
      https(ports.secure),
      `tls: { caFile: ${good.cert}, serverName: other.test },`,
    ),
    upstream('address', https(ports.secure), `tls: { caFile: ${good.cert} },`),
    upstream('unverified', https(ports.secure), 'tls: { verify: false },'),
    upstream('mutual', https(ports.mutual), `tls: { ${trusted}, ${own} },`),
    upstream('unknown', https(ports.mutual), `tls: { ${trusted} },`),
    upstream('old', https(ports.old), `tls: { ${trusted} },`),
    upstream('notls', https(ports.plain), `tls: { ${trusted} },`),
    upstream('plain', [`http://127.0.0.1:${ports.plain}`]),
    upstream('half', [`http://127.0.0.1:${ports.dead}`, `http://127.0.0.1:${ports.plain}`]),
    upstream('dead', [`http://127.0.0.1:${ports.dead}`]),
    upstream('noth2', [`http://127.0.0.1:${ports.plain}`], 'protocol: http2,'),
  ]
  const names = upstreams.map((line) => /name: (\w+)/.exec(line)?.[1] ?? '')
  const routes = names.map(
    (name) => `  - { name: ${name}, hosts: [${name}.test], upstream: ${name}, bodyMax: 64MiB }`,
  )
  const file = join(directory, 'edge.yaml')
  writeFileSync(file, ['upstreams:', ...upstreams, 'routes:', ...routes, ''].join('\n'))
  const flags = ['--config', file, '--no-redirect', '--waf', 'off', '--wire-threads', '1']
  edge = await startEdge({ arguments: [...flags, '--workers', '1'] })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  for (const server of servers) server.close()
})

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
  readonly interim: readonly number[]
}

/** One request over HTTP/1.1 in clear. */
async function ask(
  host: string,
  path: string,
  options: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { body, ...rest } = options
  const headers = { host: `${host}.test`, ...options.headers }
  const request = http.request({ port: edge.httpPort, path, agent: false, ...rest, headers })
  const interim: number[] = []
  request.on('error', () => {}) // what matters rejects below
  request.on('information', ({ statusCode }) => interim.push(statusCode))
  request.end(body)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const { statusCode: status = 0, headers: fields } = response
  return { status, headers: fields, body: Buffer.concat(chunks).toString('latin1'), interim }
}

/** Waits until the access log names the error of a request to `host`. */
async function logged(path: string, code: string): Promise<void> {
  await vi.waitFor(() => {
    const lines = edge.output().split('\n')
    expect(lines.some((line) => line.includes(path) && line.includes(code))).toBe(true)
  }, 10_000)
}

describe('TLS', () => {
  test('a trusted endpoint is reached, over HTTP/2 when it offers that', async () => {
    expect(await ask('tls', '/')).toMatchObject({ status: 200, body: 'HTTP/2.0' })
    expect(await ask('tls1', '/')).toMatchObject({ status: 200, body: 'HTTP/1.1' })
    expect(seen.alpn).toEqual(['h2', 'http/1.1'])
  })

  test('connections of one identity are never used for another', async () => {
    const before = seen.alpn.length
    expect(await ask('unverified', '/')).toMatchObject({ status: 200, body: 'HTTP/2.0' })
    expect(seen.alpn.length).toBe(before + 1)
    expect((await ask('tls', '/')).status).toBe(200)
    expect(seen.alpn.length).toBe(before + 1)
  })

  test.each(['untrusted', 'misnamed', 'address', 'old', 'notls'])('%s: 502', async (host) => {
    expect((await ask(host, `/tls-${host}`)).status).toBe(502)
    await logged(`/tls-${host}`, 'UPSTREAM_TLS_FAILED')
  })

  test('the client certificate is shown where it is configured', async () => {
    expect(await ask('mutual', '/')).toMatchObject({ status: 200, body: 'ok' })
    expect(seen.clientNames).toEqual(['client.test'])
    expect((await ask('unknown', '/')).status).toBe(502)
  })
})

describe('HTTP/2', () => {
  test('bodies, host and TE go up, the answer comes down', async () => {
    const headers = { te: 'trailers', connection: 'te' }
    const answer = await ask('h2c', '/echo', { method: 'POST', body: 'a body', headers })
    expect(answer).toMatchObject({ status: 200, body: 'a body' })
    expect(answer.headers).toMatchObject({ 'x-te': 'trailers', 'x-host': 'h2c.test' })
    const large = 'x'.repeat(3 << 20)
    expect((await ask('h2c', '/echo', { method: 'POST', body: large })).body).toBe(large)
    expect((await ask('h2c', '/download')).body.length).toBe(8 << 20)
    expect(await ask('h2c', '/', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' })
  })

  test('the target arrives byte by byte, but for what no query may hold', async () => {
    await rawRequest('/a//b;c=1/x?q=[1]{2}|3&<"%c3>')
    expect(seen.paths.at(-1)).toBe('/a//b;c=1/x?q=[1]{2}|3&%3C%22%c3%3E')
  })

  test('requests at the same time share one connection', async () => {
    const before = seen.sessions
    const bodies = Array.from({ length: 40 }, (_, index) => `body ${index}`)
    const answers = bodies.map((body) => ask('h2c', '/echo', { method: 'POST', body }))
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(bodies)
    expect(seen.sessions).toBe(before)
  })

  test('the response begins before the request ended', async () => {
    const session = http2.connect(`https://localhost:${edge.httpsPort}`, {
      rejectUnauthorized: false,
    })
    const fields = { ':method': 'POST', ':path': '/bidi', ':authority': 'h2c.test' }
    const stream = session.request(fields, { endStream: false })
    stream.write('one')
    const [head] = await once(stream, 'response')
    expect(head).toMatchObject({ ':status': 200 })
    for (const word of ['one', 'two', 'three']) {
      if (word !== 'one') stream.write(word)
      expect(String((await once(stream, 'data'))[0])).toBe(word)
    }
    stream.end()
    await once(stream, 'end')
    session.close()
  })

  test('a reset behind the head reaches the client', async () => {
    await expect(ask('h2c', '/reset')).rejects.toThrow(/aborted|reset/i)
  })

  test('a client that goes cancels the stream', async () => {
    const socket = connect(edge.httpPort, '127.0.0.1')
    socket.write('GET /hang HTTP/1.1\r\nhost: h2c.test\r\n\r\n')
    await vi.waitFor(() => expect(seen.paths).toContain('/hang'), 5_000)
    socket.resetAndDestroy()
    await vi.waitFor(() => expect(seen.resets).toEqual([http2.constants.NGHTTP2_CANCEL]), 5_000)
    await logged('/hang', 'CLIENT_ABORTED')
  })

  test('a refused stream is sent again, also a POST', async () => {
    const answer = await ask('h2c', '/refuse', { method: 'POST', body: '' })
    expect(answer.status).toBe(200)
    expect(refusals).toBe(2)
  })

  test('an endpoint that does not speak it: 502', async () => {
    expect((await ask('noth2', '/')).status).toBe(502)
  })
})

/** A request whose target no client library would send. */
async function rawRequest(target: string): Promise<void> {
  const socket: Socket = connect(edge.httpPort, '127.0.0.1')
  socket.write(
    Buffer.from(`GET ${target} HTTP/1.1\r\nhost: h2c.test\r\nconnection: close\r\n\r\n`, 'latin1'),
  )
  socket.resume()
  await once(socket, 'close')
}

describe.each(['plain', 'h2c'])('%s', (host) => {
  test('103 passes, 100 is answered once', async () => {
    const headers = { expect: '100-continue', 'content-length': '2' }
    const answer = await ask(host, '/hints', { method: 'POST', body: 'hi', headers })
    expect(answer.status).toBe(200)
    expect(answer.interim.filter((status) => status === 100)).toEqual([100])
  })

  test('an answer before the end of the request comes through', async () => {
    const socket = connect(edge.httpPort, '127.0.0.1')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.write(`POST /early HTTP/1.1\r\nhost: ${host}.test\r\ncontent-length: 1000000\r\n\r\n`)
    socket.write(Buffer.alloc(1000))
    await vi.waitFor(() => expect(text).toMatch(/^HTTP\/1\.1 413[^]*too much/), 5_000)
    await closed
    expect((await ask(host, '/')).status).toBe(200)
  })

  test.each([
    ['a request answered with success before its end', 200_000, 2],
    ['more than is read for the sake of a connection', 3_000_000, 1],
  ])('%s: what follows on the connection', async (_name, length, answers) => {
    const socket = connect(edge.httpPort, '127.0.0.1')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => (text += chunk.toString()))
    const head = (method: string, path: string): string =>
      `${method} ${path} HTTP/1.1\r\nhost: ${host}.test\r\n`
    socket.write(`${head('POST', '/soon')}content-length: ${length}\r\n\r\n`)
    socket.write(Buffer.alloc(1000))
    await vi.waitFor(() => expect(text).toMatch(/^HTTP\/1\.1 200[^]*soon/), 5_000)
    expect(text).not.toMatch(/connection: close/i)
    socket.write(Buffer.alloc(length - 1000))
    socket.write(`${head('GET', '/')}connection: close\r\n\r\n`)
    await closed
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(answers)
  })
})

test('an endpoint that is not there is replaced by another', async () => {
  for (let request = 0; request < 6; request += 1) {
    expect((await ask('half', '/half', { method: 'POST', body: 'x' })).status).toBe(200)
  }
  expect((await ask('dead', '/dead')).status).toBe(502)
  await logged('/dead', 'UPSTREAM_CONNECT_FAILED')
})

test('TE goes to HTTP/1.1 endpoints as trailers only', async () => {
  const headers = { te: 'gzip, trailers', connection: 'te' }
  expect((await ask('plain', '/', { headers })).body).toBe('plain trailers')
})
