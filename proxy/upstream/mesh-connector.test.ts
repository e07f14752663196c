/** Probes through the socket of an agent, played by a small server that dials the loopback. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, type ServerResponse } from 'node:http'
import { createServer as createH2cServer, createSecureServer } from 'node:http2'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dialPathOf, writeMode } from '../../mesh/dial.ts'
import { localCertificate } from '../tls/local-ca.ts'
import { type ProbeTarget, probe } from './probe.ts'

const folder = mkdtempSync(join(tmpdir(), 'connector-'))
const servers: Server[] = []
const asked: string[] = []
let pair = { cert: '', key: '' }
let trusted = ''

/** Answers `refused` for port 1, and is silent for port 2. */
function letIn(socket: Socket): void {
  socket.on('error', () => undefined)
  socket.once('data', (line: Buffer) => {
    const address = line.toString().trim()
    asked.push(address)
    const port = Number(address.slice(address.lastIndexOf(':') + 1))
    if (port === 1) socket.end(Buffer.from([1]))
    if (port <= 2) return
    const backend = connect(port, '127.0.0.1', () => {
      socket.write(Buffer.from([0]))
      socket.pipe(backend).pipe(socket)
    })
    backend.on('error', () => socket.destroy())
  })
}

async function portOf(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

beforeAll(async () => {
  const files = await localCertificate({ folder, hostname: 'app.internal', now: new Date() })
  trusted = readFileSync(files.caFile, 'utf8')
  pair = { cert: readFileSync(files.certFile, 'utf8'), key: readFileSync(files.keyFile, 'utf8') }
  writeMode(folder, 'netstack')
  const door = createServer(letIn)
  servers.push(door)
  door.listen(dialPathOf(folder) ?? '')
  await once(door, 'listening')
}, 60_000)
afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true })
})

const answer = (_request: unknown, response: Pick<ServerResponse, 'statusCode' | 'end'>): void => {
  response.statusCode = 204
  response.end()
}

const tls = { serverName: 'app.internal', verify: true, clientChain: '', clientKey: '' }

function target(
  port: number,
  endpoint: Partial<ProbeTarget['endpoint']> = {},
  timeoutMs = 20_000,
): ProbeTarget {
  const isTls = (endpoint.tls ?? null) !== null
  return {
    url: isTls ? `https://app.internal:${port}` : `mesh://b:${port}`,
    endpoint: {
      // No such address is here: whoever reaches it went through the agent.
      addresses: [`100.96.0.2:${port}`],
      protocol: 'auto',
      tls: null,
      via: dialPathOf(folder) ?? '',
      ...endpoint,
    },
    path: '/',
    host: null,
    timeoutMs,
    status: { from: 204, to: 204 },
  }
}

test(
  'a probe reaches its endpoint through the agent, in clear and over TLS',
  { timeout: 60_000 },
  async () => {
    const clear = await portOf(createHttpServer().on('request', answer))
    expect(await probe(target(clear))).toBeNull()
    expect(asked.at(-1)).toBe(`100.96.0.2:${clear}`)
    const h2c = await portOf(createH2cServer().on('request', answer))
    expect(await probe(target(h2c, { protocol: 'http2' }))).toBeNull()
    const secure = await portOf(createSecureServer(pair).on('request', answer))
    expect(await probe(target(secure, { tls: { ...tls, trusted } }))).toBeNull()
    const other = { ...tls, trusted, serverName: 'other' }
    expect(await probe(target(secure, { tls: other }))).toContain('other')
  },
)

test(
  'what the agent refuses, or does not answer, is a failure with its reason',
  { timeout: 60_000 },
  async () => {
    expect(await probe(target(1))).toBe('the connection was refused')
    expect(await probe(target(2, {}, 200))).toContain('timeout')
    const gone = { via: join(folder, 'none.sock') }
    expect(await probe(target(3, gone))).toContain('ENOENT')
  },
)

test('the folder says whether an agent dials', () => {
  expect(dialPathOf(folder)).toBe(join(folder, 'dial.sock'))
  writeMode(folder, 'tun')
  expect(dialPathOf(folder)).toBeNull()
  expect(dialPathOf(join(folder, 'none'))).toBeNull()
})
