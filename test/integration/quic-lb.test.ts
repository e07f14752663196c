/** Two programs behind a balancer that knows them by the server ids in connection ids. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { H3Client, pythonWithAioquic } from '../harness/h3.ts'
import { type QuicBalancer, startQuicBalancer } from '../harness/quic-balancer.ts'
import { startUdpRelay } from '../harness/udp-relay.ts'

const ids = ['2cf06077718e08ca', 'ffffffffffffffff']

let folder = ''
let backend: Awaited<ReturnType<typeof startBackend>>
let edges: RunningEdge[] = []
let balancer: QuicBalancer

beforeAll(async () => {
  pythonWithAioquic()
  folder = mkdtempSync(join(tmpdir(), 'edge-quic-lb-'))
  backend = await startBackend()
  const args = ['--backend', backend.url, '--waf', 'off', '--wire-threads', '2']
  // As AWS' controller gives it to a container, and as a file beside the program.
  const base64 = Buffer.from(ids[0] ?? '', 'hex').toString('base64')
  const file = join(folder, 'server-id')
  writeFileSync(file, `0x${ids[1]}\n`)
  const environments = [
    { EDGE_QUIC_SERVER_ID: 'env:AWS_LBC_QUIC_SERVER_ID', AWS_LBC_QUIC_SERVER_ID: base64 },
    { EDGE_QUIC_SERVER_ID: `file:${file}` },
  ]
  const start = (environment: Record<string, string>) => startEdge({ arguments: args, environment })
  edges = await Promise.all(environments.map(start))
  const ports = edges.map(({ httpsPort }, index) => [ids[index] ?? '', httpsPort] as const)
  balancer = await startQuicBalancer(new Map(ports))
}, 120_000)

afterAll(async () => {
  balancer.close()
  await Promise.all(edges.map((edge) => edge.stop()))
  backend.close()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

test('connections reach their program, also from another address of the client', async () => {
  const relay = await startUdpRelay(balancer.port)
  const clients = [1, 2, 3, 4].map(() => new H3Client(relay.port))
  const ask = async (client: H3Client): Promise<number> => {
    const request = { method: 'GET', path: '/', authority: 'localhost', headers: [] }
    const { status, error } = await client.request(request)
    return error === null ? status : 0
  }
  try {
    for (let turn = 0; turn < 3; turn += 1) {
      // oxlint-disable-next-line no-await-in-loop -- from one address after the other
      expect(await Promise.all(clients.map(ask))).toEqual([200, 200, 200, 200])
      relay.rebind()
    }
  } finally {
    clients.forEach((client) => client.close())
    relay.close()
  }
  expect(balancer.dropped()).toBe(0)
  expect([...balancer.routed.keys()].toSorted()).toEqual(ids)
}, 60_000)
