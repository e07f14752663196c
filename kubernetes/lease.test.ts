/** Who leads: the decision alone. The election over sockets is in controller.test.ts. */
import { expect, test } from 'vitest'
import { claim, type Sighting } from './lease.ts'
import type { LeaseSpec } from './objects.ts'

const time = '2026-01-01T00:00:00.000000Z'
const at = (nowMs: number) => ({ nowMs, time })
const seen = (spec: LeaseSpec, sinceMs = 0): Sighting => ({ spec, sinceMs })
const held = { holderIdentity: 'other', leaseDurationSeconds: 15, leaseTransitions: 4 }

const cases: readonly (readonly [string, Sighting | null, number, Partial<LeaseSpec> | null])[] = [
  ['no lease: mine', null, 0, { holderIdentity: 'me', leaseTransitions: 0 }],
  ['one that nobody ever held', seen({}), 0, { holderIdentity: 'me', leaseTransitions: 1 }],
  ['one that was given back', seen({ ...held, holderIdentity: '' }), 0, { holderIdentity: 'me' }],
  ['that of another one', seen(held), 14_999, null],
  ['that of another one, to its last moment', seen(held), 15_000, null],
  ['that of another one who is silent', seen(held), 15_001, { leaseTransitions: 5 }],
  ['silent for long, but seen anew just now', seen(held, 100_000), 101_000, null],
  ['mine', seen({ ...held, holderIdentity: 'me' }), 5_000, { leaseTransitions: 4 }],
  ['mine, and long over', seen({ ...held, holderIdentity: 'me' }), 90_000, { renewTime: time }],
]

test.each(cases)('%s', (_, sighting, nowMs, wanted) => {
  const claimed = claim(sighting, 'me', at(nowMs), 15)
  if (wanted === null) expect(claimed).toBeNull()
  else expect(claimed).toMatchObject({ ...wanted, holderIdentity: 'me', renewTime: time })
})

test('a renewal keeps the time at which the lease was taken', () => {
  const mine = { ...held, holderIdentity: 'me', acquireTime: 'then' }
  expect(claim(seen(mine), 'me', at(1), 15)?.acquireTime).toBe('then')
})
