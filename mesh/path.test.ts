/** What a machine's own address says of the way to the coordinator. */
import { expect, test } from 'vitest'
import { isThroughNat, leadsThroughNat } from './path.ts'

const cases = [
  ['192.168.1.7', '203.0.113.5', true],
  ['10.1.2.3', '203.0.113.5', true],
  ['100.64.0.9', '203.0.113.5', true],
  ['fd00::7', '2001:db8::5', true],
  ['172.16.0.1', '172.31.255.1', false],
  ['198.51.100.7', '203.0.113.5', false],
  ['203.0.113.7', '10.0.0.1', false],
  ['2001:db8::7', '2001:db8::5', false],
] as const
for (const [own, coordinator, isNat] of cases) {
  test(`from ${own} to ${coordinator} there is ${isNat ? 'a NAT' : 'none to be seen'}`, () => {
    expect(isThroughNat(own, coordinator)).toBe(isNat)
  })
}

test('the way to this machine itself leads through none', async () => {
  expect(await leadsThroughNat(['127.0.0.1', '::1'])).toBe(false)
  expect(await leadsThroughNat([])).toBe(false)
})
