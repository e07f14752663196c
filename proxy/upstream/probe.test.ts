/** Probes with real servers on loopback. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createH2cServer, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { localCertificate } from '../tls/local-ca.ts'
import { type ProbeTarget, probe } from './probe.ts'

const folder = mkdtempSync(join(tmpdir(), 'probe-'))
const servers: Server[] = []
const seen: string[] = []
let ca = ''
let pair = { cert: '', key: '' }

beforeAll(async () => {
  const files = await localCertificate({ folder, hostname: 'app.internal', now: new Date() })
  ca = readFileSync(files.caFile, 'utf8')
  pair = { cert: readFileSync(files.certFile, 'utf8'), key: readFileSync(files.keyFile, 'utf8') }
})
afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true })
})

const answer = (request: IncomingMessage, response: ServerResponse): void => {
  const { url = '', headers } = request
  seen.push(`${request.httpVersion} ${headers.host ?? String(headers[':authority'])} ${url}`)
  if (url === '/silent') return
  response.writeHead(url === '/ok' ? 204 : url === '/moved' ? 302 : 500, { location: '/ok' })
  response.end()
}

async function portOf(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const tls = { serverName: 'app.internal', verify: true, clientChain: '', clientKey: '' }

function target(port: number, more: Partial<ProbeTarget> = {}): ProbeTarget {
  return {
    url: `http://app.internal:${port}`,
    endpoint: { addresses: [`127.0.0.1:${port}`], protocol: 'auto', tls: null },
    path: '/ok',
    host: null,
    timeoutMs: 2_000,
    status: { from: 200, to: 399 },
    ...more,
  }
}

type TlsChanges = Partial<typeof tls> & { readonly trusted?: string }

const overTls = (port: number, changes: TlsChanges = {}) =>
  target(port, {
    url: `https://app.internal:${port}`,
    endpoint: {
      addresses: [`127.0.0.1:${port}`],
      protocol: 'auto',
      tls: { ...tls, trusted: ca, ...changes },
    },
  })

test('an answer in range is good, a redirect is one, all else says why', async () => {
  const port = await portOf(createServer(answer))
  expect(await probe(target(port))).toBeNull()
  expect(seen.at(-1)).toBe(`1.1 app.internal:${port} /ok`)
  expect(await probe(target(port, { host: 'shop' }))).toBeNull()
  expect(seen.at(-1)).toBe('1.1 shop /ok')
  expect(await probe(target(port, { path: '/moved' }))).toBeNull()
  expect(seen.at(-1)).toContain('/moved')
  expect(await probe(target(port, { status: { from: 200, to: 200 } }))).toBe('status 204')
  expect(await probe(target(port, { path: '/broken' }))).toBe('status 500')
})

test('silence and a closed port are failures, in time', async () => {
  const port = await portOf(createServer(answer))
  const begun = performance.now()
  expect(await probe(target(port, { path: '/silent', timeoutMs: 200 }))).not.toBeNull()
  expect(performance.now() - begun).toBeLessThan(5_000)
  const closed = createServer()
  const closedPort = await portOf(closed)
  closed.close()
  expect(await probe(target(closedPort))).toContain('ECONNREFUSED')
})

test('the certificate is verified as it is for requests', async () => {
  const port = await portOf(createHttpsServer(pair, answer))
  expect(await probe(overTls(port))).toBeNull()
  expect(await probe(overTls(port, { serverName: 'other' }))).not.toBeNull()
  expect(await probe(overTls(port, { trusted: '' }))).not.toBeNull()
  expect(await probe(overTls(port, { trusted: '', verify: false, serverName: 'other' }))).toBeNull()
})

test('HTTP/2 is spoken where the endpoint speaks it', async () => {
  const secure = await portOf(createSecureServer(pair).on('request', answer))
  expect(await probe(overTls(secure))).toBeNull()
  expect(seen.at(-1)).toMatch(/^2.0 /)
  const clear = await portOf(createH2cServer().on('request', answer))
  const endpoint = { addresses: [`127.0.0.1:${clear}`], protocol: 'http2', tls: null } as const
  expect(await probe(target(clear, { endpoint }))).toBeNull()
  expect(seen.at(-1)).toMatch(/^2.0 /)
})
