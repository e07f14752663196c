import { expect, test } from 'vitest'
import { drain } from './drain.ts'

function wireWith(active: number[]) {
  const calls: string[] = []
  return {
    calls,
    setHealth: (state: number) => calls.push(`health ${state}`),
    drain: () => calls.push('drain'),
    activeExchanges: () => {
      calls.push('look')
      return active.shift() ?? 0
    },
  }
}

test('health turns before connections are told, then exchanges are waited for', async () => {
  const wire = wireWith([2, 1, 0])
  await drain(wire, { delayMs: 0, timeoutMs: 5_000 })
  expect(wire.calls).toEqual(['health 2', 'drain', 'look', 'look', 'look'])
})

test('the timeout ends the wait', async () => {
  const wire = wireWith([1, 1, 1, 1])
  await drain(wire, { delayMs: 0, timeoutMs: 0 })
  expect(wire.calls).toEqual(['health 2', 'drain', 'look'])
})
