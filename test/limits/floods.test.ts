/**
 * Floods of HTTP/2 frames are cut within their budgets, what they send upstream is bounded, and
 * ordinary requests beside them are unharmed. The budgets are those of the project's goals; the
 * attacks are in test/clients/go/frames_floods.go and bomb.go. `npm run e2e:floods` is the long
 * form.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  bombBudget,
  floodBudget,
  floodDelay,
  floods,
  type FloodStage,
  startFloodStage,
  tableBytesMax,
  tableSize,
} from '../e2e/flood-stage.ts'
import { runGo } from '../harness/go.ts'
import { metric } from '../harness/wait.ts'

let stage: FloodStage

beforeAll(async () => {
  stage = await startFloodStage()
}, 120_000)

afterAll(async () => {
  expect(await stage.stop()).toBe(0)
}, 60_000)

describe.each(floods)('%s', (flood) => {
  test('is cut within its budget, and harms nobody beside it', async () => {
    // A delay counts when it comes every time: the machine may have been busy with other tests.
    let delay: string[] = []
    for (let turn = 0; turn < 3; turn += 1) {
      const report = await stage.flood(flood, { connections: 3, count: 3_000, aloneMs: 250 })
      expect(floodBudget(report)).toEqual([])
      delay = floodDelay(report)
      if (delay.length === 0) break
    }
    expect(delay).toEqual([])
  }, 60_000)
})

test('a request that is taken back in the same breath is the work of nobody', async () => {
  const series = 'edge_requests_withdrawn_total'
  const before = await metric(stage.statusPort, series)
  const size = { connections: 3, count: 3_000, aloneMs: 1 }
  expect(await stage.flood('rapid-reset', size)).toMatchObject({ cut: 3 })
  // Three times the budget of resets (limits.streamResetsMax), a few more or less.
  expect((await metric(stage.statusPort, series)) - before).toBeGreaterThan(300)
}, 60_000)

test('clients that cancel and ping moderately are never cut', async () => {
  const report = await runGo<Record<string, unknown>>([
    'polite',
    '-https',
    stage.address,
    '-for',
    '3s',
  ])
  expect(report).toMatchObject({ failed: [], dials: 2 })
}, 60_000)

// fields: one-byte fields within the limits of one request; over: far beyond them.
test.each(['fields', 'over'])(
  'the HTTP/2 bomb (%s) makes the edge hold little',
  async (kind) => {
    const report = await stage.bomb(kind)
    expect(bombBudget(report)).toEqual([])
  },
  60_000,
)

test('a churned HPACK table costs at most 64 KiB a connection', async () => {
  const report = await stage.bomb('table', tableSize)
  expect(report.ends).toEqual({ alive: 200 })
  expect(report.perConnection).toBeLessThanOrEqual(tableBytesMax)
}, 60_000)
