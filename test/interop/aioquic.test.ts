/** QUIC with aioquic: what a connection does beside requests, over two wire threads. */
import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { root, startEdge, type RunningEdge } from '../harness/edge.ts'
import { pythonWithAioquic } from '../harness/h3.ts'

const directory = mkdtempSync(join(tmpdir(), 'edge-quic-'))
const configurations = {
  plain: '',
  retry: 'limits: { quicRetryFrom: 0 }\n',
  early: 'tls: { earlyData: true }\n',
  both: 'tls: { earlyData: true }\nlimits: { quicRetryFrom: 0 }\n',
}

let backend: Backend
let edges: Record<keyof typeof configurations, RunningEdge>

async function start(name: keyof typeof configurations): Promise<RunningEdge> {
  const file = join(directory, `${name}.yaml`)
  writeFileSync(file, `wireThreads: 2\nwaf: { mode: off }\n${configurations[name]}`)
  return startEdge({ arguments: ['--config', file, '--backend', backend.url] })
}

beforeAll(async () => {
  pythonWithAioquic()
  backend = await startBackend()
  edges = {
    plain: await start('plain'),
    retry: await start('retry'),
    early: await start('early'),
    both: await start('both'),
  }
}, 120_000)

afterAll(async () => {
  await Promise.all(Object.values(edges).map((edge) => edge.stop()))
  backend.close()
})

async function play(edge: RunningEdge, scenario: string): Promise<Record<string, unknown>> {
  const script = join(root, 'test/clients/aioquic_interop.py')
  const arguments_ = [script, String(edge.httpsPort), scenario]
  const { stdout } = await promisify(execFile)(pythonWithAioquic(), arguments_)
  return JSON.parse(stdout) as Record<string, unknown>
}

const ok = (count: number) => ({ statuses: Array.from({ length: count }, () => '200') })

test.each([
  ['plain', 'handshake', ok(1)],
  ['retry', 'handshake', ok(1)],
  ['plain', 'key_update', ok(4)],
  ['plain', 'new_ids', ok(12)],
  ['plain', 'rebinding', ok(7)],
  ['plain', 'migration', ok(7)],
  ['plain', 'deaf_migration', ok(13)],
  ['plain', 'resumption', { ...ok(5), resumed: true, early: false }],
  ['retry', 'resumption', { ...ok(5), resumed: true, early: false }],
  ['plain', 'early', { ...ok(2), resumed: true, early: false }],
  ['early', 'early', { ...ok(2), resumed: true, early: true }],
  // aioquic does not send its early data again after a Retry, so it only resumes here; quiche as a
  // client does (routing_tests.rs: early_data_survives_a_retry).
  ['both', 'resumption', { ...ok(5), resumed: true, early: true }],
] as const)('on %s: %s', { timeout: 60_000 }, async (name, scenario, expected) => {
  expect(await play(edges[name], scenario)).toEqual(expected)
})
