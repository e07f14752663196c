import fc from 'fast-check'
import { expect, test } from 'vitest'
import { entryOf } from './node.fixture.ts'
import { emptyView, hashOf, type View, viewOf, withDelta } from './view.ts'

const ids = fc.constantFrom('a', 'b', 'c', 'd')
const change = fc.record({ id: ids, port: fc.integer({ min: 1, max: 9 }), isThere: fc.boolean() })

test('deltas and a snapshot lead to the same view', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      let view: View = emptyView
      for (const [index, { id, port, isThere }] of changes.entries()) {
        const entries = new Map(view.entries)
        if (isThere) entries.set(id, entryOf(id, { port }))
        else entries.delete(id)
        const hash = hashOf(entries.values())
        const next = withDelta(view, {
          from: index,
          to: index + 1,
          hash,
          upsert: isThere ? [entryOf(id, { port })] : [],
          remove: isThere ? [] : [id],
        })
        expect(next).not.toBeNull()
        view = next ?? view
      }
      const nodes = [...view.entries.values()].toReversed()
      const whole = viewOf({ version: changes.length, hash: view.hash, nodes })
      expect(whole.hash).toBe(view.hash)
      expect(whole.entries.size).toBe(view.entries.size)
      expect(Object.fromEntries(whole.entries)).toEqual(Object.fromEntries(view.entries))
    }),
  )
})

test('a delta that begins elsewhere or ends elsewhere is not taken', () => {
  const delta = { from: 0, to: 1, hash: hashOf([entryOf('a')]), upsert: [entryOf('a')], remove: [] }
  expect(withDelta(emptyView, delta)?.version).toBe(1)
  expect(withDelta(emptyView, { ...delta, from: 1 })).toBeNull()
  expect(withDelta(emptyView, { ...delta, upsert: [entryOf('a', { port: 7 })] })).toBeNull()
})
