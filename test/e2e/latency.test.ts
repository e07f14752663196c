/** How requests are counted for the quiet and for the flood. */
import { expect, test } from 'vitest'
import { floodBudget, floodDelay } from './flood-stage.ts'
import { weigh, type Ordinary } from './latency.ts'

const spans = [
  { quietMs: 0, dialMs: 100, floodMs: 150, endMs: 200 },
  { quietMs: 1000, dialMs: 1100, floodMs: 1150, endMs: 1200 },
]

function ordinary(requests: Ordinary['requests'], more: Partial<Ordinary> = {}): Ordinary {
  return { requests, failed: [], connections: 4, refused: 0, ...more }
}

test('a request counts where it was due, however long it took', () => {
  const requests = [
    [0, 1],
    [99, 500],
    [100, 7],
    [149, 8],
    [150, 20],
    [199, 30],
    [200, 999],
    [1050, 3],
    [1199, 40],
    [1200, 999],
  ] as const
  expect(weigh(ordinary(requests), spans)).toMatchObject({
    alone: { requests: 3, p50Ms: 3, p99Ms: 500 },
    dialing: { requests: 2, p99Ms: 8 },
    beside: { requests: 3, p50Ms: 30, p99Ms: 40 },
    p50Ratio: 10,
    p99Ratio: 0.08,
  })
})

test('beside a flood elsewhere is what beside is held against', () => {
  const others = [{ quietMs: 300, dialMs: 310, floodMs: 320, endMs: 400 }]
  const requests = [
    [50, 1],
    [160, 30],
    [330, 20],
  ] as const
  expect(weigh(ordinary(requests), spans, others)).toMatchObject({
    alone: { requests: 1, p99Ms: 1 },
    elsewhere: { requests: 1, p99Ms: 20 },
    p99Ratio: 1.5,
  })
})

test('what never happened has no ratio', () => {
  const benign = weigh(ordinary([]), spans)
  expect(benign).toMatchObject({ p50Ratio: 0, p99Ratio: 0, cut: 0, beside: { requests: 0 } })
})

const report = {
  flood: 'ping',
  connections: 2,
  volleys: 3,
  volleyMs: 40,
  cut: 6,
  framesMax: 500,
  cpuMs: 10,
  ends: {},
  upstream: 0,
}
const benign = (beside: number, more: Partial<Ordinary> = {}) => {
  const requests: [number, number][] = [
    [50, 10],
    [160, beside],
  ]
  return weigh(ordinary(requests, more), spans)
}

test.each([
  [{}, []],
  [{ cut: 5 }, ['ping: 1 connections were not cut']],
  [{ framesMax: 1001 }, ['ping: 1001 frames before the cut, not 1000']],
  [{ cpuMs: 201 }, ['ping: 201 ms of CPU']],
  [{ upstream: 1501 }, ['ping: 1501 requests went upstream']],
  [{ benign: benign(10, { failed: ['late'] }) }, ['ping: ordinary requests failed: late']],
  [{ benign: benign(10, { connections: 5 }) }, ['ping: 1 ordinary connections were closed']],
  [{ benign: weigh(ordinary([]), spans) }, ['ping: no ordinary request']],
])('%j breaks %j', (change, found) => {
  expect(floodBudget({ ...report, benign: benign(10), ...change })).toEqual(found)
})

test('twice the quiet p99 is harm, unless it is less than the slack', () => {
  expect(floodDelay({ ...report, benign: benign(19) }, 5)).toEqual([])
  expect(floodDelay({ ...report, benign: benign(20) }, 5)).toEqual([
    'ping: p99 20 ms beside it, 10 ms alone',
  ])
  expect(floodDelay({ ...report, benign: benign(20) }, 15)).toEqual([])
  const elsewhere = { requests: 1, p50Ms: 9, p99Ms: 9 }
  expect(floodDelay({ ...report, benign: { ...benign(20), elsewhere } }, 5)).toEqual([
    'ping: p99 20 ms beside it, 9 ms beside one elsewhere',
  ])
})
