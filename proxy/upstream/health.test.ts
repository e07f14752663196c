import { expect, test } from 'vitest'
import { EjectionHistory, ProbeHistory, mayEject } from './health.ts'

// One row: results of probes (+ good, - bad), and the state after each.
const histories = [
  ['+++', '+++'],
  ['-', '-'],
  ['-++', '--+'],
  ['-+-++', '----+'],
  ['+---', '+++-'],
  ['+--+--+', '+++++++'],
  ['+---++', '+++--+'],
] as const

for (const [results, expected] of histories) {
  test(`probes ${results} make ${expected}`, () => {
    const history = new ProbeHistory()
    let states = ''
    for (const result of results) {
      history.record(result === '+', { healthyAfter: 2, unhealthyAfter: 3 })
      states += history.isHealthy ? '+' : '-'
    }
    expect(states).toBe(expected)
  })
}

test('before any probe an endpoint is used', () => expect(new ProbeHistory().isHealthy).toBe(true))

test('ejections in a row last longer and longer, up to a limit', () => {
  const ejections = new EjectionHistory()
  const rules = { timeMs: 10_000, timeMaxMs: 60_000 }
  const lasted: number[] = []
  let now = 0
  for (let turn = 0; turn < 5; turn += 1) {
    const forMs = ejections.eject(now, rules)
    lasted.push(forMs)
    now += forMs
    expect(ejections.release(now)).toBe(true)
    now += 1_000
  }
  expect(lasted).toEqual([10_000, 20_000, 40_000, 60_000, 60_000])
  now += 60_000
  expect(ejections.eject(now, rules)).toBe(10_000)
  expect(ejections.count).toBe(6)
})

test('what is not away does not come back', () =>
  expect(new EjectionHistory().release(0)).toBe(false))

test.each([
  [1, 0, 50, false],
  [2, 0, 50, true],
  [2, 1, 50, false],
  [2, 0, 10, true],
  [3, 1, 50, false],
  [4, 1, 50, true],
  [4, 3, 100, false],
  [4, 0, 0, false],
])('of %i endpoints with %i away at %i %%: %s', (total, ejected, percent, expected) =>
  expect(mayEject(total, ejected, percent)).toBe(expected),
)
