import fc from 'fast-check'
import { isIPv4 } from 'node:net'
import { expect, test } from 'vitest'
import { addressText, contains, overlaps, parseAddress, parsePrefix, prefixText } from './prefix.ts'

const cases = [
  ['0.0.0.0', '0.0.0.0'],
  ['10.1.2.3', '10.1.2.3'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['::1', '::1'],
  ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
  ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
] as const
for (const [text, wanted] of cases)
  test(`${text} is written ${wanted}`, () => {
    const address = parseAddress(text)
    expect(address === null ? null : addressText(address)).toBe(wanted)
  })

for (const text of ['', '10.0.0', '10.0.0.256', 'host', 'fe80::1%eth0', '1::2::3'])
  test(`"${text}" is no address`, () => expect(parseAddress(text)).toBeNull())

for (const text of ['10.0.0.1/24', '10.0.0.0', '10.0.0.0/33', '::/129', '::1/64', '10.0.0.0/8/8'])
  test(`"${text}" is no range`, () => expect(parsePrefix(text)).toBeNull())

const address = fc.oneof(
  fc.record({ family: fc.constant(4 as const), value: fc.bigInt(0n, 2n ** 32n - 1n) }),
  fc.record({ family: fc.constant(6 as const), value: fc.bigInt(0n, 2n ** 128n - 1n) }),
)

test('what is written is read again', () => {
  fc.assert(
    fc.property(address, (one) => {
      expect(parseAddress(addressText(one))).toEqual(one)
    }),
  )
})

test('what reads as IPv4 is what the system takes for it', () => {
  const part = fc.oneof(
    fc.nat(300).map(String),
    fc.constantFrom('', '0', '00', '01', '-1', 'a', ' 1'),
  )
  fc.assert(
    fc.property(fc.array(part, { minLength: 3, maxLength: 5 }), (parts) => {
      const text = parts.join('.')
      expect(parseAddress(text)?.family === 4).toBe(isIPv4(text))
    }),
  )
})

test('two ranges overlap exactly when one has an address of the other', () => {
  const range = fc.tuple(fc.bigInt(0n, 2n ** 8n - 1n), fc.integer({ min: 0, max: 8 }))
  fc.assert(
    fc.property(range, range, ([a, lengthA], [b, lengthB]) => {
      const [one, other] = [small(a, lengthA), small(b, lengthB)]
      const members = (at: ReturnType<typeof small>) =>
        Array.from({ length: 2 ** (32 - at.length) }, (_, index) => at.value + BigInt(index))
      const shared = members(one).some((value) => members(other).includes(value))
      expect(overlaps(one, other)).toBe(shared)
      expect(contains(one, other)).toBe(
        members(other).every((value) => members(one).includes(value)),
      )
    }),
  )
})

/** Within the last eight bits of IPv4, so that all members can be listed. */
function small(value: bigint, length: number) {
  const shift = BigInt(8 - length)
  const prefix = { family: 4, value: (value >> shift) << shift, length: 24 + length } as const
  expect(parsePrefix(prefixText(prefix))).toEqual(prefix)
  return prefix
}
