/** Nothing is lost: started = succeeded on every protocol (the long form is `npm run e2e:loss`). */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { handover, losses, LossStage } from '../e2e/loss-stage.ts'

let stage: LossStage

beforeAll(async () => {
  stage = await LossStage.start()
}, 120_000)

afterAll(async () => {
  expect(await stage.stop()).toBe(0)
}, 60_000)

test('a connection that reaches its last request loses none, on every protocol', async () => {
  const counts = await stage.load(4_000, 10)
  expect(losses(counts)).toEqual([])
  // 1,000 requests a connection: each protocol needed at least four.
  for (const count of Object.values(counts)) expect(count.connections).toBeGreaterThanOrEqual(4)
}, 60_000)

test('a backend that restarts gracefully loses none', async () => {
  const turns = { turns: 4, pauseMs: 200 }
  const counts = await stage.under(() => stage.restartBackends(turns), 60_000)
  expect(losses(counts)).toEqual([])
}, 60_000)

test('reloads lose none, valid or not', async () => {
  const counts = await stage.under(() => stage.reload({ turns: 6, pauseMs: 200 }), 60_000)
  expect(losses(counts)).toEqual([])
}, 60_000)

test('new certificates lose none, good or broken', async () => {
  const turns = { turns: 5, pauseMs: 200 }
  const counts = await stage.under(() => stage.changeCertificates(turns), 60_000)
  expect(losses(counts)).toEqual([])
}, 60_000)

test('a successor on the same ports loses none', async () => {
  const pair = await LossStage.start(handover)
  try {
    const counts = await pair.under(() => pair.replaceEdge({ turns: 1, pauseMs: 300 }), 60_000)
    expect(losses(counts)).toEqual([])
  } finally {
    expect(await pair.stop()).toBe(0)
  }
}, 90_000)
