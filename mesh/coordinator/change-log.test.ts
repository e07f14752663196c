import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChangeLog } from './change-log.ts'

test('the log knows the newest change of each node, whatever came in between', () => {
  const change = fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd', 'e'), goes: fc.boolean() })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), fc.nat(45), (changes, from) => {
      const log = new ChangeLog()
      const newest = new Map<string, number>()
      for (const [at, { id, goes }] of changes.entries()) {
        newest.delete(id)
        if (goes) log.drop(id)
        else log.put(id, at + 1)
        if (!goes) newest.set(id, at + 1)
      }
      const wanted = [...newest].filter(([, version]) => version > from)
      const found = log.since(from)
      expect(found).toEqual(wanted.map(([id, version]) => ({ id, version })))
      expect(log.countSince(from)).toBe(wanted.length)
      expect(log.firstAfter(from)).toBe(wanted[0]?.[1] ?? null)
      expect(log.newest).toBe([...newest.values()].at(-1) ?? 0)
      for (const id of 'abcde') expect(log.changedAt(id)).toBe(newest.get(id) ?? 0)
    }),
  )
})
