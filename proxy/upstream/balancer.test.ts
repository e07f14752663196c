import { expect, test } from 'vitest'
import { request } from '../request.fixture.ts'
import { balancer, endpointState } from './balancer.fixture.ts'
import type { BalanceOptions, Balancer } from './balancer.ts'
import { EndpointLoads } from './endpoint-load.ts'
import type { EndpointState } from './endpoint-state.ts'
import type { Asker } from './strategies.ts'

type Balance = BalanceOptions['balance']

const asker = (more: Partial<Asker> = {}): Asker => ({
  request: request(),
  clientAddress: '192.0.2.1',
  ...more,
})

/** Ids of the endpoints of `count` requests, each ended before the next. */
function ids(one: Balancer, count: number, of: (turn: number) => Asker = () => asker()): number[] {
  return Array.from({ length: count }, (_, turn) => {
    const choice = one.choose('u', of(turn))
    if (choice === null) return -1
    one.ended(choice.endpoint)
    return choice.endpoint.id
  })
}

function shares(chosen: readonly number[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const id of chosen) counts[id] = (counts[id] ?? 0) + 1
  return counts
}

/** A repeatable stand-in for Math.random. */
function numbers(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const weighted = [endpointState(4, { weight: 3 }), endpointState(5), endpointState(6)]

test("endpoints take turns, from the worker's own offset", () => {
  const endpoints = [4, 5, 6].map((id) => endpointState(id))
  expect(ids(balancer({}, endpoints, { offset: 1 }), 4)).toEqual([5, 6, 4, 5])
})

test('heavy endpoints take more turns, never many in a row', () =>
  expect(ids(balancer({}, weighted), 5)).toEqual([4, 5, 4, 6, 4]))

test('an unknown upstream is a broken invariant', () =>
  expect(() => balancer().choose('other', asker())).toThrow('no upstream other'))

test('the less busy of two is chosen', () => {
  const one = balancer({ balance: 'least-outstanding' }, undefined, { random: numbers() })
  const busy = one.choose('u', asker())?.endpoint.id
  const chosen = ids(one, 200).filter((id) => id === busy)
  // Only when both draws hit it: a quarter.
  expect(chosen.length).toBeLessThan(80)
  expect(chosen.length).toBeGreaterThan(20)
})

test('many at once spread by load and weight', () => {
  const one = balancer({ balance: 'least-outstanding' }, weighted, { random: numbers() })
  const held = Array.from({ length: 500 }, () => one.choose('u', asker())?.endpoint.id ?? -1)
  const { 4: heavy = 0, 5: light = 0, 6: other = 0 } = shares(held)
  expect(heavy / (light + other)).toBeGreaterThan(1.2)
  expect(Math.abs(light - other)).toBeLessThan(20)
})

const keys = Array.from({ length: 2_000 }, (_, index) => `10.1.${index >> 8}.${index & 255}`)
const byAddress = (turn: number) => asker({ clientAddress: keys[turn] ?? '' })

test('hashing: losing one of five endpoints moves only its own keys', () => {
  const five = [4, 5, 6, 7, 8].map((id) => endpointState(id))
  const before = ids(balancer({ balance: 'hash' }, five), keys.length, byAddress)
  const four = five.filter(({ id }) => id !== 6)
  const after = ids(balancer({ balance: 'hash' }, four), keys.length, byAddress)
  const moved = before.filter((id, turn) => id !== after[turn])
  expect(moved.every((id) => id === 6)).toBe(true)
  for (const share of Object.values(shares(before))) {
    expect(share).toBeGreaterThan(0.16 * keys.length)
    expect(share).toBeLessThan(0.24 * keys.length)
  }
})

test('hashing follows the weights', () => {
  const { 4: heavy = 0 } = shares(
    ids(balancer({ balance: 'hash' }, weighted), keys.length, byAddress),
  )
  expect(heavy / keys.length).toBeGreaterThan(0.56)
  expect(heavy / keys.length).toBeLessThan(0.64)
})

const hashed = [
  [{ kind: 'path' }, { path: '/a' }],
  [{ kind: 'header', name: 'x-tenant' }, { headers: [['X-Tenant', 'a']] }],
  [{ kind: 'cookie', name: 'id' }, { headers: [['Cookie', 'b=c; id=a']] }],
] as const

for (const [on, options] of hashed) {
  test(`hashing on ${on.kind} keeps to one endpoint, and spreads what has no key`, () => {
    const one = balancer({ balance: 'hash', hash: { on } })
    const same = ids(one, 20, () => asker({ request: request(options) }))
    expect(Object.keys(shares(same))).toHaveLength(1)
    if (on.kind !== 'path') expect(Object.keys(shares(ids(one, 2)))).toHaveLength(2)
  })
}

const cookie = (value: string) => asker({ request: request({ headers: [['Cookie', value]] }) })

test('a sticky client is given a cookie, and keeps its endpoint', () => {
  const one = balancer({ balance: 'sticky' })
  const first = one.choose('u', asker())
  expect(first?.cookie).toBe('edge_u=t4; Path=/; HttpOnly; SameSite=Lax')
  for (const value of ['edge_u=t4', 'a=b; edge_u=t4; c', 'xedge_u=t5; edge_u = t4']) {
    const kept = one.choose('u', cookie(value))
    expect([kept?.endpoint.id, kept?.cookie]).toEqual([4, null])
  }
})

test('a cookie over TLS is secure', () => {
  const one = balancer({ balance: 'sticky', sticky: { cookie: 'backend' } })
  const choice = one.choose('u', asker({ request: request({ flags: 2 }) }))
  expect(choice?.cookie).toBe('backend=t4; Path=/; HttpOnly; SameSite=Lax; Secure')
})

test('a cookie of nobody, or of an endpoint that is away, is replaced', () => {
  const endpoints = [endpointState(4, { health: 'ejected' }), endpointState(5)]
  const one = balancer({ balance: 'sticky' }, endpoints)
  for (const value of ['edge_u=', 'edge_u=forged', 'edge_u=t4']) {
    const choice = one.choose('u', cookie(value))
    expect([choice?.endpoint.id, choice?.cookie]).toEqual([
      5,
      'edge_u=t5; Path=/; HttpOnly; SameSite=Lax',
    ])
  }
})

const away = (health: EndpointState['health']) => [4, 5].map((id) => endpointState(id, { health }))

test.each([
  ['ejected', true, [4, 5]],
  ['unhealthy', true, [4, 5]],
  ['unhealthy', false, [-1, -1]],
  ['unresolved', true, [-1, -1]],
] as const)('with all endpoints %s and panic %s: %j', (health, panic, expected) => {
  for (const balance of ['round-robin', 'least-outstanding', 'hash', 'sticky'] as const) {
    const chosen = ids(balancer({ balance, panic }, away(health), { random: numbers() }), 20)
    expect(expected).toEqual(expect.arrayContaining(chosen.slice(0, 1)))
    if (balance === 'round-robin') expect(chosen.slice(0, 2)).toEqual(expected)
  }
})

test('no endpoint at all is no failure of ours', () =>
  expect(ids(balancer({}, []), 1)).toEqual([-1]))

test('the alternative is another endpoint that is well', () => {
  for (const balance of ['round-robin', 'least-outstanding', 'hash', 'sticky'] as const) {
    const endpoints = [4, 5, 6].map((id) =>
      endpointState(id, { health: id === 6 ? 'ejected' : 'healthy' }),
    )
    const one = balancer({ balance }, endpoints, { random: numbers() })
    for (let turn = 0; turn < 20; turn += 1) {
      const choice = one.choose('u', byAddress(turn))
      const pair = [choice?.endpoint.id, choice?.alternative?.id]
      expect([
        [4, 5],
        [5, 4],
      ]).toContainEqual(pair)
    }
    expect(balancer({ balance }, [endpointState(4)]).choose('u', asker())?.alternative).toBeNull()
  }
})

test('an endpoint that came back gets a growing share', () => {
  let now = 0
  const back = [endpointState(4), endpointState(5, { returnedAgoMs: 0 })]
  const one = balancer({}, back, { clock: () => now })
  const share = () => (shares(ids(one, 1_000))[5] ?? 0) / 1_000
  const seen: number[] = []
  for (now = 0; now <= 10_000; now += 2_500) seen.push(share())
  expect(seen[0]).toBeCloseTo(1 / 11, 1)
  expect(seen[2]).toBeCloseTo(1 / 3, 1)
  expect(seen[4]).toBeCloseTo(1 / 2, 2)
  expect(seen).toEqual(seen.toSorted((a, b) => a - b))
})

test('failures in a row are told, seldom again, and a success ends the row', () => {
  const loads = new EndpointLoads()
  let now = 0
  const one = balancer({}, undefined, { loads, clock: () => now })
  const fail = (count: number) => {
    for (let turn = 0; turn < count; turn += 1) one.learn(4, 'failure')
  }
  fail(4)
  one.learn(4, 'success')
  fail(4)
  expect(loads.takeFailing()).toEqual([])
  fail(1)
  expect(loads.takeFailing()).toEqual([4])
  expect(loads.takeFailing()).toEqual([])
  fail(50)
  expect(loads.takeFailing()).toEqual([])
  now = 1_000
  fail(50)
  expect(loads.takeFailing()).toEqual([4])
})

const ejection = { consecutiveFailures: 0, serverErrors: false }

test.each([
  ['what is away already', {}, [endpointState(4, { health: 'ejected' }), endpointState(5)]],
  ['a threshold of zero', { ejection }, [endpointState(4), endpointState(5)]],
] as const)('%s tells nothing', (_, changes, endpoints) => {
  const loads = new EndpointLoads()
  const one = balancer(changes, endpoints, { loads })
  for (let turn = 0; turn < 20; turn += 1) one.learn(4, 'failure')
  expect(loads.takeFailing()).toEqual([])
})

test.each([
  [500, false, 'success'],
  [500, true, 'failure'],
  [404, true, 'success'],
] as const)('%i with serverErrors %s is a %s', (status, serverErrors, expected) => {
  const one = balancer({ ejection: { consecutiveFailures: 5, serverErrors } })
  expect(one.resultOf('u', status)).toBe(expected)
})

test('requests under way are counted across a change of endpoints', () => {
  const loads = new EndpointLoads()
  const one = balancer({}, undefined, { loads })
  const first = one.choose('u', asker())
  const retain = () => loads.retain(new Set(one.endpoints))
  one.update([{ name: 'u', endpoints: [endpointState(5), endpointState(6)] }])
  retain()
  expect(ids(one, 2)).toEqual([6, 5])
  expect(first?.endpoint.outstanding).toBe(1)
  expect(one.urlOf(4)).toBe('http://a:1')
  if (first) one.ended(first.endpoint)
  one.update([{ name: 'u', endpoints: [endpointState(5)] }])
  retain()
  expect(one.urlOf(4)).toBe('')
})

const balances: readonly Balance[] = ['round-robin', 'least-outstanding', 'hash', 'sticky']
test.each(balances)('%s: a spent budget allows to send nothing again', (balance) => {
  const one = balancer({ balance, retry: { enabled: true, budgetPercent: 0, budgetMin: 0.1 } })
  expect(one.choose('u', asker())?.retry).toBe(true)
  one.retried('u')
  const spent = one.choose('u', asker())
  expect([spent?.retry, spent?.alternative === null]).toEqual([false, false])
})

test('without retries there is no alternative', () => {
  const one = balancer({ retry: { enabled: false, budgetPercent: 10, budgetMin: 3 } })
  expect(one.choose('u', asker())?.alternative).toBeNull()
})

test('what cannot be reached is avoided at once, but for one trial at a time', () => {
  let now = 0
  const one = balancer({}, undefined, { clock: () => now })
  one.learn(5, 'unreachable')
  expect(ids(one, 4)).toEqual([4, 4, 4, 4])
  expect(one.choose('u', asker())?.alternative?.id).toBe(5)
  for (now = 1_000; now <= 2_000; now += 1_000) {
    expect(ids(one, 6).filter((id) => id === 5)).toHaveLength(1)
  }
  one.learn(5, 'success')
  expect(shares(ids(one, 4))).toEqual({ 4: 2, 5: 2 })
})

test('one that is ejected is better than one that cannot be reached, and either than none', () => {
  const endpoints = [endpointState(4, { health: 'ejected' }), endpointState(5)]
  const one = balancer({}, endpoints)
  expect(ids(one, 2)).toEqual([5, 5])
  expect(one.choose('u', asker())?.alternative?.id).toBe(4)
  one.learn(5, 'unreachable')
  expect(ids(one, 2)).toEqual([4, 4])
  one.learn(4, 'unreachable')
  expect(shares(ids(one, 4))).toEqual({ 4: 2, 5: 2 })
  const strict = balancer({ panic: false }, endpoints)
  strict.learn(5, 'unreachable')
  expect(strict.choose('u', asker())).toMatchObject({ endpoint: { id: 5 }, alternative: null })
})
