/** A successor on the same ports, for QUIC: connections end in their old program, none is lost. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { handover, losses, LossStage } from '../e2e/loss-stage.ts'

// The long form (EDGE_TEST_LONG=1) is the one of the acceptance.
const turns = process.env['EDGE_TEST_LONG'] === '1' ? 20 : 3

let stage: LossStage

beforeAll(async () => {
  stage = await LossStage.start([...handover, '--wire-threads', '2'])
}, 120_000)

afterAll(async () => {
  expect(await stage.stop()).toBe(0)
}, 60_000)

test(`${turns} handovers under load lose no request over HTTP/3`, async () => {
  const replace = () => stage.replaceEdge({ turns, pauseMs: 300 })
  const counts = await stage.under(replace, 240_000, ['-protocols', 'h3'])
  expect(losses(counts)).toEqual([])
  const { started, connections } = counts['h3'] ?? { started: 0, connections: 0 }
  console.info(`${turns} handovers, ${started} requests over ${connections} connections`)
  expect(started).toBeGreaterThan(100)
  // Three connections, which every handover ends.
  expect(connections).toBeGreaterThanOrEqual(3 * (turns + 1))
}, 300_000)
