import { expect, test } from 'vitest'
import { Tx } from './tx.ts'

const start = new Map([
  ['a', '1'],
  ['b', '2'],
  ['0', 'zero'],
])

type Step = (members: Pick<Tx, 'set' | 'delete'>) => unknown

const steps: readonly Step[] = [
  (members) => members.set('a', '1'),
  (members) => members.set('b', '3'),
  (members) => members.set('c', '4'),
  (members) => members.delete('b'),
  (members) => members.delete('x'),
  (members) => members.set('b', '5'),
  (members) => members.set('0', 'one'),
  (members) => members.delete('c'),
]

test('TX over a shared start is like a map of its own, in any order of changes', () => {
  const orders = [steps, steps.toReversed(), [...steps, ...steps], steps.slice(2), []]
  for (const order of orders) {
    const [tx, map] = [new Tx(start), new Map(start)]
    for (const step of order) {
      step(tx)
      step({ set: (key, value) => void map.set(key, value), delete: (key) => void map.delete(key) })
      expect([...tx]).toEqual([...map])
      for (const key of 'abcx0') {
        expect(tx.get(key)).toBe(map.get(key))
        expect(tx.has(key)).toBe(map.has(key))
      }
    }
  }
  expect([...start.values()]).toEqual(['1', '2', 'zero'])
})

test('what is shared is never written to', () => {
  const shared = new Map([['s', '1']])
  const [one, other] = [new Tx(start), new Tx(start)]
  for (const tx of [one, other]) tx.share(shared)
  one.set('s', '2')
  one.set('a', '9')
  expect([one.get('s'), other.get('s'), shared.get('s'), other.get('a')]).toEqual([
    '2',
    '1',
    '1',
    '1',
  ])
  other.delete('s')
  expect([[...shared], other.has('s')]).toEqual([[['s', '1']], false])
})

test('only members that were changed differ from the start', () => {
  const tx = new Tx(start)
  tx.set('a', '1')
  expect(tx.differs(() => true)).toBe(false)
  tx.set('b', 'x')
  expect([tx.differs((name) => name === 'b'), tx.differs((name) => name === 'a')]).toEqual([
    true,
    false,
  ])
})

const late: readonly (readonly [string, (tx: Tx) => void, string, number])[] = [
  ['is looked for when it is read', () => undefined, 'late', 1],
  ['and when all is read', (tx) => void [...tx], 'late', 1],
  ['gives way to a later capture', (tx) => tx.capture(['new']), 'new', 0],
  ['stays when a later match has no such group', (tx) => tx.capture([null, 'g']), 'late', 1],
  ['gives way to setvar', (tx) => tx.set('0', 'set'), 'set', 0],
  ['gives way to a later one', (tx) => tx.captureLate(() => ['later']), 'later', 0],
  ['comes back when the later one was none', (tx) => tx.captureLate(() => null), 'late', 1],
]

for (const [name, act, expected, asked] of late)
  test(`a late capture ${name}`, () => {
    const tx = new Tx(start)
    let count = 0
    tx.captureLate(() => {
      count += 1
      return ['late']
    })
    act(tx)
    expect([tx.get('0'), tx.get('0'), count]).toEqual([expected, expected, asked])
  })

test('a late capture that is removed is gone', () => {
  const tx = new Tx(start)
  tx.captureLate(() => ['late'])
  tx.delete('0')
  expect(tx.get('0')).toBeUndefined()
})
