/** Session tickets: what one wire thread or program sealed, another with the same keys opens. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type SecureVersion, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { until } from '../harness/wait.ts'

const versions = ['TLSv1.2', 'TLSv1.3'] as const
const ticketKey = (): string => randomBytes(48).toString('base64')

let folder = ''
let keyFile = ''
const edges: RunningEdge[] = []
const first = ticketKey()

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-tickets-'))
  keyFile = join(folder, 'tickets')
  writeFileSync(keyFile, `${first}\n`)
  const config = join(folder, 'edge.yaml')
  writeFileSync(config, JSON.stringify({ tls: { ticketKeyFile: 'tickets' } }))
  const flags = ['--config', config, '--waf', 'off', '--backend', 'http://127.0.0.1:9']
  // Another state directory each, so another certificate: resumption shows by the keys alone.
  for (let count = 0; count < 2; count += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one program after the other
    edges.push(await startEdge({ arguments: [...flags, '--wire-threads', '2'] }))
  }
}, 90_000)

afterAll(async () => {
  for (const edge of edges) expect(await edge.stop()).toBe(0)
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

interface Handshake {
  readonly resumed: boolean
  readonly session: Buffer | null
}

/** One connection with one request; the session is the last one that the server sent. */
function handshake(
  edge: RunningEdge | undefined,
  version: SecureVersion,
  session: Buffer | null,
): Promise<Handshake> {
  return new Promise((resolve, reject) => {
    let given: Buffer | null = null
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: edge?.httpsPort ?? 0,
      servername: 'localhost',
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
      ...(session === null ? {} : { session }),
    })
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer in time')))
    socket.on('session', (sent) => (given = sent))
    socket.on('error', reject)
    socket.once('secureConnect', () => {
      const resumed = socket.isSessionReused()
      socket.once('data', () => socket.destroy())
      socket.once('close', () => resolve({ resumed, session: given }))
      socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    })
  })
}

test.each(versions)('%s resumes on every wire thread', async (version) => {
  const { session } = await handshake(edges[0], version, null)
  expect(session).not.toBeNull()
  // Which thread gets a connection is the kernel's choice: 10 miss one in 2^10 runs.
  for (let turn = 0; turn < 10; turn += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one connection after the other
    expect((await handshake(edges[0], version, session)).resumed).toBe(true)
  }
})

test.each(versions)('%s resumes in another program that has the key file', async (version) => {
  const { session } = await handshake(edges[0], version, null)
  expect((await handshake(edges[1], version, session)).resumed).toBe(true)
})

test('a changed file is taken over: the old key opens as long as it is in it', async () => {
  const { session: old } = await handshake(edges[0], 'TLSv1.2', null)
  writeFileSync(keyFile, `${ticketKey()}\n${first}\n`)
  await reloaded(2)
  const again = await handshake(edges[0], 'TLSv1.2', old)
  expect(again.resumed).toBe(true)
  writeFileSync(keyFile, `${ticketKey()}\n`)
  await reloaded(3)
  expect((await handshake(edges[1], 'TLSv1.2', old)).resumed).toBe(false)
}, 60_000)

test('a broken file changes nothing', async () => {
  const { session } = await handshake(edges[0], 'TLSv1.2', null)
  writeFileSync(keyFile, 'no key\n')
  await until('the refusal', () => edges[0]?.output().includes('is not a key of 48') === true)
  expect((await handshake(edges[0], 'TLSv1.2', session)).resumed).toBe(true)
}, 30_000)

/** Both programs watch the file. */
async function reloaded(generation: number): Promise<void> {
  for (const edge of edges) {
    process.kill(edge.process.pid ?? 0, 'SIGHUP')
    // oxlint-disable-next-line no-await-in-loop -- both must be there
    await until(`generation ${generation}`, () => generationOf(edge) >= generation)
  }
}

function generationOf(edge: RunningEdge): number {
  const told = edge.output().matchAll(/"generation":(\d+)[^\n]*configuration reloaded/g)
  return Math.max(0, ...[...told].map(([, number]) => Number(number)))
}
