/**
 * Large bodies pass whole, in flat memory, and stop at their limit, on every protocol; and many
 * exchanges run at once. The long form, 1 GiB each, is `npm run e2e:transfer`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  protocols,
  startTransferStage,
  transferFaults,
  type TransferStage,
} from '../e2e/transfer-stage.ts'
import { runGo } from '../harness/go.ts'

const mebibyte = 1024 * 1024
const bytes = 64 * mebibyte

describe.each([
  ['WAF off', { waf: 'off' }],
  ['WAF stream', { waf: 'stream' }],
  ['a backend of HTTP/2', { waf: 'off', backend: 'h2c' }],
] as const)('%s', (_name, options) => {
  let stage: TransferStage
  beforeAll(async () => {
    stage = await startTransferStage(options)
  }, 120_000)
  afterAll(async () => {
    expect(await stage.stop()).toBe(0)
  }, 60_000)

  const cases = protocols.flatMap((protocol) =>
    (['up', 'down'] as const).map((direction) => ({ protocol, direction })),
  )
  test.each(cases)(
    '64 MiB $direction over $protocol',
    async ({ protocol, direction }) => {
      const report = await stage.transfer({ protocol, direction, bytes })
      expect(transferFaults(report, bytes)).toEqual([])
    },
    60_000,
  )

  // The body ends while the answer still runs; twice, since what is lost then is a matter of time.
  test.each(protocols.flatMap((protocol) => [1, 2].map((turn) => ({ protocol, turn }))))(
    '8 MiB up and 32 MiB down at once over $protocol, $turn',
    async ({ protocol, turn }) => {
      const size = 8 * mebibyte
      const what = { protocol, bytes: size, unknownLength: turn === 2 }
      const report = await stage.transfer({ ...what, direction: 'both' })
      expect(transferFaults(report, size)).toEqual([])
    },
    60_000,
  )
})

describe.each(['off', 'stream'] as const)('over the limit, WAF %s', (waf) => {
  let stage: TransferStage
  beforeAll(async () => {
    stage = await startTransferStage({ waf, bodyMax: '4MiB' })
  }, 120_000)
  afterAll(async () => {
    expect(await stage.stop()).toBe(0)
  }, 60_000)

  const cases = protocols.flatMap((protocol) =>
    [false, true].map((unknownLength) => ({ protocol, unknownLength })),
  )
  test.each(cases)(
    '$protocol, length unknown: $unknownLength',
    async (transfer) => {
      const report = await stage.transfer({ ...transfer, direction: 'up', bytes: 16 * mebibyte })
      expect([report.status, report.error]).toEqual([413, ''])
      // Refused when it is known, not after all of it was taken.
      expect(report.bytes).toBe(0)
    },
    60_000,
  )
})

describe('many exchanges at once', () => {
  let stage: TransferStage
  beforeAll(async () => {
    stage = await startTransferStage({ waf: 'off' })
  }, 120_000)
  afterAll(async () => {
    expect(await stage.stop()).toBe(0)
  }, 60_000)

  // The backend answers nobody before all thousand have reached it.
  test.each(['h2', 'h3'])(
    '1,000 streams on 10 connections are open at once over %s',
    async (protocol) => {
      const args = ['concurrent', '-protocol', protocol, '-https', stage.address]
      const report = await runGo<Record<string, unknown>>(args, 60_000)
      expect(report).toMatchObject({ started: 1000, succeeded: 1000, failed: [] })
    },
    60_000,
  )
})
