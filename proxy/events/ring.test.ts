import { expect, test } from 'vitest'
import { anything, stored } from './event.fixture.ts'
import { EventRing } from './ring.ts'

const ids = (events: readonly string[]): string[] =>
  events.map((json) => (JSON.parse(json) as { 'request.id': string })['request.id'])

function ring(count: number, memoryCountMax = 100, memoryBytesMax = 1e6): EventRing {
  const made = new EventRing({ memoryCountMax, memoryBytesMax })
  for (let index = 0; index < count; index += 1) made.add([stored({ requestId: `r${index}` })])
  return made
}

test('the ring keeps the newest events', () => {
  const small = ring(7, 3)
  expect(ids(small.list(anything).events)).toEqual(['r6', 'r5', 'r4'])
  expect(small.find('r3')).toBe(null)
  expect(small.find('r4')).toContain('r4')
  expect(small.count).toBe(3)
})

test('the ring is bounded in bytes as well', () => {
  const small = ring(50, 1_000, 3_000)
  expect(small.bytes).toBeLessThanOrEqual(3_000)
  expect(small.count).toBeGreaterThan(5)
})

test('pages follow each other without a gap, while events come in', () => {
  const many = ring(12)
  const first = many.list(anything)
  many.add([stored({ requestId: 'new' })])
  const second = many.list({ ...anything, before: first.next })
  const third = many.list({ ...anything, before: second.next })
  const seen = [...first.events, ...second.events, ...third.events]
  expect(ids(seen)).toEqual(Array.from({ length: 12 }, (_, index) => `r${11 - index}`))
  expect(third.next).toBe(null)
})

const filters = [
  [{ rule: 920_350 }, ['b']],
  [{ path: '/a' }, ['a', 'c']],
  [{ sinceMs: 2_000 }, ['b', 'c']],
  [{ blocked: false }, ['c']],
  [{ blocked: true, path: '/b' }, ['b']],
  [{ rule: 1 }, []],
] as const

/** In the order in which they came. */
const mixed = [
  stored({ requestId: 'a', path: '/a' }),
  stored({ requestId: 'b', path: '/b', timeMs: 2_000, rules: [920_350, 942_100] }),
  stored({ requestId: 'c', path: '/a/x', timeMs: 3_000, blocked: false }),
]

for (const [filter, expected] of filters) {
  test(`${JSON.stringify(filter)} finds ${expected.join(', ') || 'nothing'}`, () => {
    const made = new EventRing({ memoryCountMax: 10, memoryBytesMax: 1e6 })
    made.add(mixed)
    expect(ids(made.list({ ...anything, ...filter }).events).toReversed()).toEqual(expected)
  })
}
