import { expect, test } from 'vitest'
import { type DrainOptions, drain } from './drain.ts'

function wireWith(active: number[], open: number[] = [], quic: object[] = [], handedOver = 2) {
  const calls: string[] = []
  return {
    calls,
    setHealth: (state: number) => calls.push(`health ${state}`),
    drain: () => calls.push('drain'),
    stopAccepting: () => calls.push('stop accepting'),
    activeExchanges: () => {
      calls.push('look')
      return active.shift() ?? 0
    },
    stats: () => {
      // Asked once before anything is looked at.
      if (!calls.includes('drain')) return JSON.stringify({ handedOver })
      return JSON.stringify({ connectionsOpen: open.shift() ?? 0, quic: quic.shift() ?? {} })
    },
  }
}

const options: DrainOptions = {
  mode: 'withdraw',
  delayMs: 0,
  timeoutMs: 5_000,
  idleGraceMs: 1_000,
}

test('withdraw: health turns, connections are told, the listeners close last', async () => {
  const wire = wireWith([2, 1, 0])
  await drain(wire, options)
  const { calls } = wire
  expect(calls).toEqual(['health 2', 'drain', 'look', 'look', 'look', 'stop accepting', 'look'])
})

test('handover: no new connections, and health is the business of the successor', async () => {
  const wire = wireWith([1, 0])
  await drain(wire, { ...options, mode: 'handover' })
  expect(wire.calls).toEqual(['stop accepting', 'drain', 'look', 'look'])
})

test('handover without a successor is withdraw: balancers hear of it', async () => {
  const wire = wireWith([0], [], [], 0)
  await drain(wire, { ...options, mode: 'handover' })
  expect(wire.calls.slice(0, 2)).toEqual(['health 2', 'drain'])
})

test('the timeout ends the wait', async () => {
  const wire = wireWith([1, 1, 1, 1])
  await drain(wire, { ...options, timeoutMs: 0 })
  expect(wire.calls).toEqual(['health 2', 'drain', 'stop accepting'])
})

test('the wait for what was accepted last is within the same timeout', async () => {
  const wire = wireWith(Array.from({ length: 100 }, () => 1))
  const begun = performance.now()
  await drain(wire, { ...options, timeoutMs: 300 })
  expect(performance.now() - begun).toBeLessThan(500)
  expect(wire.calls.at(-1)).toBe('stop accepting')
})

test('idle connections may bring a last request for a while, not for ever', async () => {
  const wire = wireWith([], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
  const begun = performance.now()
  await drain(wire, { ...options, mode: 'handover', idleGraceMs: 200 })
  expect(performance.now() - begun).toBeGreaterThanOrEqual(199)
  const gone = wireWith([], [1, 0])
  await drain(gone, { ...options, mode: 'handover', idleGraceMs: 60_000 })
})

test('QUIC connections are waited for beyond the grace: they end by themselves', async () => {
  const open = { accepted: 3, ended: 2 }
  const wire = wireWith([], [1, 1, 1], [open, open, { accepted: 3, ended: 3 }])
  await drain(wire, { ...options, mode: 'handover', idleGraceMs: 0 })
  expect(wire.calls.filter((call) => call === 'look')).toHaveLength(3)
})
