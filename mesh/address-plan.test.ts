import fc from 'fast-check'
import { expect, test } from 'vitest'
import { freeAddress } from './address-plan.ts'
import { contains, hostPrefix, parsePrefix, type Prefix } from './prefix.ts'

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === null) throw new Error(text)
  return parsed
}

test('nodes get different addresses within the network until it is full', () => {
  const networks = fc.constantFrom('10.9.0.0/28', '10.9.0.0/31', '10.9.0.7/32', 'fd00::/124')
  fc.assert(
    fc.property(networks, fc.uniqueArray(fc.string(), { minLength: 20 }), (text, names) => {
      const network = prefix(text)
      const taken = new Set<bigint>()
      for (const name of names) {
        const value = freeAddress(network, name, (one) => taken.has(one))
        if (value === null) break
        expect(taken.has(value)).toBe(false)
        expect(contains(network, hostPrefix({ family: network.family, value }))).toBe(true)
        taken.add(value)
      }
      const room = { '10.9.0.0/28': 14, '10.9.0.0/31': 2, '10.9.0.7/32': 1, 'fd00::/124': 15 }
      expect(taken.size).toBe(room[text as keyof typeof room])
    }),
    { numRuns: 30 },
  )
})

test('a name gets its address again', () => {
  const network = prefix('100.96.0.0/16')
  const none = () => false
  expect(freeAddress(network, 'node-a', none)).toBe(freeAddress(network, 'node-a', none))
})
