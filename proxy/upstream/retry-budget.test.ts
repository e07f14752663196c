import { expect, test } from 'vitest'
import { RetryBudget } from './retry-budget.ts'

/** Of `perSecond` requests that all fail, how many are sent once more in each second. */
function retries(options: { percent: number; min: number; perSecond: number; seconds: number }) {
  const { percent, min, perSecond, seconds } = options
  const budget = new RetryBudget({ enabled: true, budgetPercent: percent, budgetMin: min })
  return Array.from({ length: seconds }, (_, second) => {
    let sent = 0
    for (let turn = 0; turn < perSecond; turn += 1) {
      const now = second * 1_000 + (turn * 1_000) / perSecond
      if (!budget.request(now)) continue
      budget.retried(now)
      sent += 1
    }
    return sent
  })
}

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)

test.each([
  [1_000, 10, 3, 0.1],
  [1_000, 50, 0, 0.5],
  [1_000, 0, 0, 0],
  [10, 10, 3, 0.3],
  [10, 0, 3, 0.3],
  [2, 0, 3, 1],
])('%i requests a second, %i %%, at least %i: a share of %f', (perSecond, percent, min, share) => {
  const seconds = 40
  const sent = sum(retries({ percent, min, perSecond, seconds }))
  expect(sent / (perSecond * seconds)).toBeCloseTo(share, 1)
})

test('after a pause the budget is whole again', () => {
  const budget = new RetryBudget({ enabled: true, budgetPercent: 0, budgetMin: 0.2 })
  const spend = (now: number) => {
    let sent = 0
    while (budget.request(now)) {
      budget.retried(now)
      sent += 1
    }
    return sent
  }
  expect([spend(0), spend(9_000), spend(10_500), spend(3_600_000)]).toEqual([2, 0, 2, 2])
})

test('where retries are off none is allowed', () => {
  const off = new RetryBudget({ enabled: false, budgetPercent: 100, budgetMin: 100 })
  expect(off.request(0)).toBe(false)
})
