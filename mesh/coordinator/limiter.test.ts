import { expect, test } from 'vitest'
import { MeshFault } from '../fault.ts'
import { meshLimits } from '../limits.ts'
import { JoinLimiter } from './limiter.ts'

const { joinsPerSecondMax, joinRefusalsPerMinuteMax, joinAddressesMax } = meshLimits

function code(work: () => void): string {
  try {
    work()
    return 'fine'
  } catch (error) {
    return error instanceof MeshFault ? error.code : String(error)
  }
}

function refusedOften(limiter: JoinLimiter, address: string): void {
  for (let time = 0; time < joinRefusalsPerMinuteMax; time += 1) limiter.refused(address, 0)
}

test('an address that is refused too often waits, its neighbours do not', () => {
  const limiter = new JoinLimiter()
  refusedOften(limiter, '192.0.2.1')
  expect(code(() => limiter.admit('192.0.2.1', 1))).toBe('JOIN_REFUSED_TOO_OFTEN')
  expect(code(() => limiter.admit('192.0.2.2', 1))).toBe('fine')
  const oneMs = Math.ceil(60_000 / joinRefusalsPerMinuteMax)
  expect(code(() => limiter.admit('192.0.2.1', oneMs + 1))).toBe('fine')
})

test('the addresses of one /64 are one', () => {
  const limiter = new JoinLimiter()
  refusedOften(limiter, '2001:db8::1')
  expect(code(() => limiter.admit('2001:db8::ffff:2', 1))).toBe('JOIN_REFUSED_TOO_OFTEN')
  expect(code(() => limiter.admit('2001:db8:0:1::1', 1))).toBe('fine')
})

test('an IPv4 address is one, also where the socket is of both families', () => {
  const limiter = new JoinLimiter()
  refusedOften(limiter, '::ffff:192.0.2.1')
  const refused = expect.objectContaining({ where: '192.0.2.1' })
  expect(() => limiter.admit('::ffff:192.0.2.1', 1)).toThrow(refused)
  expect(code(() => limiter.admit('192.0.2.1', 1))).toBe('JOIN_REFUSED_TOO_OFTEN')
  expect(code(() => limiter.admit('::ffff:192.0.2.2', 1))).toBe('fine')
  expect(code(() => limiter.admit('::1', 1))).toBe('fine')
})

test('in a second no more joins are looked at than the limit says', () => {
  const limiter = new JoinLimiter()
  const codes = Array.from({ length: joinsPerSecondMax + 1 }, () =>
    code(() => limiter.admit('192.0.2.1', 5_000)),
  )
  expect(codes.filter((one) => one === 'fine')).toHaveLength(joinsPerSecondMax)
  expect(codes.at(-1)).toBe('JOINS_TOO_MANY')
  expect(code(() => limiter.admit('192.0.2.1', 5_010))).toBe('fine')
})

test('what is counted of addresses is bounded: the oldest is forgotten', () => {
  const limiter = new JoinLimiter()
  refusedOften(limiter, '192.0.2.1')
  for (let at = 0; at < joinAddressesMax; at += 1) {
    limiter.refused(`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`, 0)
  }
  expect(code(() => limiter.admit('192.0.2.1', 1))).toBe('fine')
})
