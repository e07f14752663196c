/** Every limit of `limits:` that QUIC and HTTP/3 connections meet, at real sockets. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { root, startEdge, type RunningEdge } from '../harness/edge.ts'
import { pythonWithAioquic } from '../harness/h3.ts'
import { metric, until } from '../harness/wait.ts'

const limits = {
  floods: {
    streamResetsMax: 20,
    streamResetsPerSecond: 1,
    controlFramesMax: 30,
    controlFramesPerSecond: 1,
    connectionMemoryMax: '128KiB',
    bodyRateMin: '1KiB',
    bodyRateGrace: '1500ms',
  },
  handshakes: {
    quicRetryFrom: 100,
    quicHandshakesPerAddressMax: 2,
    quicHandshakesMax: 4,
    // The scenario must fit in; after it the places are free again.
    handshakeTimeout: '6s',
    connectionAgeMax: '1s',
  },
  retry: { quicRetryFrom: 0 },
}

type Name = keyof typeof limits

const directory = mkdtempSync(join(tmpdir(), 'edge-quic-limits-'))
const script = join(root, 'test/clients/quic_limits.py')
const run = promisify(execFile)

let backend: Backend
let edges: Record<Name, RunningEdge>

async function start(name: Name): Promise<RunningEdge> {
  const file = join(directory, `${name}.yaml`)
  // A certificate that does not fit into what an address that is not proven may get.
  const files = { certFile: join(directory, 'cert.pem'), keyFile: join(directory, 'key.pem') }
  const config = { wireThreads: 2, waf: { mode: 'off' }, limits: limits[name] }
  writeFileSync(file, JSON.stringify({ ...config, tls: { certificates: [files] } }))
  return startEdge({ arguments: ['--config', file, '--backend', backend.url] })
}

beforeAll(async () => {
  const files = ['cert.pem', 'key.pem'].map((name) => join(directory, name))
  await run(pythonWithAioquic(), [script, 'certificate', ...files])
  backend = await startBackend()
  edges = {
    floods: await start('floods'),
    handshakes: await start('handshakes'),
    retry: await start('retry'),
  }
}, 120_000)

afterAll(async () => {
  await Promise.all(Object.values(edges).map((edge) => edge.stop()))
  backend.close()
  rmSync(directory, { recursive: true, force: true })
}, 60_000)

async function play<Result>(name: Name, scenario: string): Promise<Result> {
  const { stdout } = await run(pythonWithAioquic(), [
    script,
    String(edges[name].httpsPort),
    scenario,
  ])
  return JSON.parse(stdout) as Result
}

/** The code is in the access log and counted. */
async function visible(name: Name, code: string): Promise<void> {
  await until(`${code} in the log`, () => edges[name].output().includes(`"${code}"`))
  const series = `edge_wire_refusals_total{error="${code}"}`
  await until(
    `${code} in the metrics`,
    async () => (await metric(edges[name].statusPort, series)) > 0,
  )
}

const EXCESSIVE_LOAD = 0x107

describe('floods on one connection end it with H3_EXCESSIVE_LOAD', () => {
  test.each([
    ['rapid_reset', 'STREAM_RESETS_EXCEEDED'],
    ['priority_updates', 'CONTROL_FRAMES_EXCEEDED'],
    ['goaways', 'CONTROL_FRAMES_EXCEEDED'],
    ['empty_data', 'CONTROL_FRAMES_EXCEEDED'],
    ['unfinished_heads', 'CONNECTION_BYTES_EXCEEDED'],
  ])(
    '%s: %s',
    async (scenario, code) => {
      expect(await play('floods', scenario)).toMatchObject({ code: EXCESSIVE_LOAD })
      await visible('floods', code)
      expect(await play('floods', 'request')).toEqual({ status: '200' })
    },
    30_000,
  )
})

test('bodyRateMin: a body that comes drop by drop is answered with 408', async () => {
  const { outcome, seconds } = await play<{ outcome: string; seconds: number }>(
    'floods',
    'slow_body',
  )
  expect(outcome).toBe('408')
  expect(seconds).toBeGreaterThanOrEqual(1.4)
  await until('the code in the log', () => edges.floods.output().includes('"REQUEST_TOO_SLOW"'))
}, 30_000)

test('connectionAgeMax: a connection that is never idle ends, and loses nothing', async () => {
  const end = await play<Record<string, unknown>>('handshakes', 'old_age')
  // What came after the last GOAWAY was rejected, so that it may be sent again.
  expect(end).toMatchObject({ code: 0x100, refused: 'reset 0x10b' })
  expect(end['served']).toBeGreaterThan(3)
  expect(end['seconds']).toBeLessThan(10)
}, 30_000)

test('unfinished handshakes: Retry at the limit, then silence, then free', async () => {
  expect(await play('handshakes', 'handshakes')).toEqual({
    // Two are open: whoever comes third must prove its address.
    first: ['open', 'open', 'retry'],
    // Places that a forger cannot take; the third has none left.
    proven: ['open', 'open', 'silence'],
    // All four places of the edge are taken.
    elsewhere: 'silence',
  })
  const series = (code: string) => `edge_wire_refusals_total{error="${code}"}`
  for (const [code, least] of [
    ['ADDRESS_CONNECTIONS_EXCEEDED', 1],
    ['TOO_MANY_CONNECTIONS', 1],
    // All four places are given back.
    ['HANDSHAKE_TIMEOUT', 4],
  ] as const) {
    const found = async () => (await metric(edges.handshakes.statusPort, series(code))) >= least
    // oxlint-disable-next-line no-await-in-loop -- each must be there
    await until(code, found)
  }
  expect(await play('handshakes', 'request')).toEqual({ status: '200' })
}, 40_000)

test('an address that is not proven gets at most three times what it sent', async () => {
  const { none, forged } = await play<Record<string, { sent: number; received: number }>>(
    'floods',
    'amplification',
  )
  for (const count of [none, forged]) {
    expect(count?.sent).toBeGreaterThanOrEqual(1200)
    expect(count?.received).toBeLessThanOrEqual(3 * (count?.sent ?? 0))
    // Else the certificate was too small to prove anything.
    expect(count?.received).toBeGreaterThan(2 * (count?.sent ?? 0))
  }
}, 30_000)

test('a forged token counts as none, an altered one ends the attempt', async () => {
  expect(await play('retry', 'forged_token')).toEqual({
    none: 'retry',
    random: 'retry',
    short: 'retry',
    own: 'open',
    // INVALID_TOKEN: whoever follows a Retry follows no second one.
    altered: 'close 0xb',
  })
}, 30_000)
