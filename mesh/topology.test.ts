import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeOf } from './node.fixture.ts'
import { overlaps, parsePrefix } from './prefix.ts'
import { type MeshNode, type Place, topology } from './topology.ts'

const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }
const place: Place = { self: 'id-1', networks, outside: ['198.51.100.1'], isBehindNat: false }

function conflictsOf(...advertised: (readonly string[])[]) {
  const nodes = advertised.map((advertise, at) => nodeOf(at + 1, { advertise }))
  return topology(nodes, place).conflicts.map(
    ({ node, prefix, reason }) => `${node} ${prefix}: ${reason}`,
  )
}

test('a node has its addresses, the others as peers, and one route for each range', () => {
  const other = nodeOf(2, { advertise: ['10.2.0.0/16', 'fd02::/64'] })
  const desired = topology([nodeOf(1, { advertise: ['10.1.0.0/16'] }), other], place)
  expect(desired.addresses).toEqual(['10.96.0.1/32', 'fd00::1/128'])
  expect(desired.routes).toEqual(['10.96.0.0/16', 'fd00::/64', '10.2.0.0/16', 'fd02::/64'])
  expect([...desired.peers.values()]).toEqual([
    {
      publicKey: other.key,
      allowedIps: ['10.96.0.2/32', 'fd00::2/128', '10.2.0.0/16', 'fd02::/64'],
      standbyIps: [],
      endpoint: '192.0.2.2:51820',
      keepaliveS: 0,
      relays: [],
      candidates: [],
    },
  ])
  expect(desired.conflicts).toEqual([])
})

test('the first claim holds; the second one loses this range and nothing else', () => {
  expect(conflictsOf([], ['10.2.0.0/16'], ['10.2.0.0/16', '10.3.0.0/16'])).toEqual([
    'node-3 10.2.0.0/16: node-2 claimed it before',
  ])
})

test('a range within another one is no conflict: the narrower one wins in every table', () => {
  expect(conflictsOf([], ['10.2.0.0/16'], ['10.2.7.0/24'])).toEqual([])
})

test('what would break the mesh itself is left out, with the reason', () => {
  expect(conflictsOf([], ['10.96.3.0/24', '10.0.0.0/8', 'fd00::/48'])).toEqual([
    'node-2 10.96.3.0/24: it overlaps the addresses of the mesh, 10.96.0.0/16',
    'node-2 10.0.0.0/8: it overlaps the addresses of the mesh, 10.96.0.0/16',
    'node-2 fd00::/48: it overlaps the addresses of the mesh, fd00::/64',
  ])
  expect(conflictsOf([], ['192.0.2.0/24', '198.51.100.0/24'])).toEqual([
    'node-2 192.0.2.0/24: the endpoint of node-1 is in it',
    'node-2 198.51.100.0/24: the coordinator is in it',
  ])
})

test.each([
  '10.2.0.0/16',
  '10.2.0.0/016',
  '10.2.0.0',
  '10.2.0.1/16',
  '10.2.0.0/33',
  '10.2.0.0/-1',
  '10.02.0.0/16',
  '10.256.0.0/16',
  '10.2.0/16',
  '10.2.0.0.0/16',
  '10..0.0/16',
  '10.2.0.:/16',
  '',
  '/8',
  'fd01::/64',
  'FD01:0::/64',
  'fd01::1/64',
])('"%s" is a range here if it is one anywhere', (said) => {
  const reasons = topology([nodeOf(1), nodeOf(2, { advertise: [said] })], place).conflicts
  const isRange = parsePrefix(said) !== null
  expect(reasons.map(({ reason }) => reason)).toEqual(isRange ? [] : ['it is no CIDR'])
})

test('a range is the same however its node wrote it', () => {
  expect(conflictsOf(['fd01::/64', '10.2.0.0/16'], ['FD01:0::/64', '10.2.0.0/016'])).toEqual([
    'node-2 fd01::/64: node-1 claimed it before',
    'node-2 10.2.0.0/16: node-1 claimed it before',
  ])
})

test('an address that two nodes have stays with the first', () => {
  const twin = nodeOf(2, { addresses: ['10.96.0.1', 'fd00::2'] })
  const { peers, conflicts } = topology([twin, nodeOf(1), nodeOf(3)], { ...place, self: 'id-3' })
  expect(peers.get(twin.key)?.allowedIps).toEqual(['fd00::2/128'])
  expect(conflicts).toHaveLength(1)
})

test('keepalive is only for a node that others cannot reach', () => {
  const seconds = (isBehindNat: boolean) =>
    [...topology([nodeOf(1), nodeOf(2)], { ...place, isBehindNat }).peers.values()][0]?.keepaliveS
  expect([seconds(true), seconds(false)]).toEqual([25, 0])
})

test.each([
  ['192.0.2.64/26', true],
  ['192.0.2.0/24', true],
  ['192.0.2.200/32', true],
  ['192.0.0.0/14', true],
  ['192.0.2.201/32', false],
  ['192.0.3.0/24', false],
  ['192.0.1.0/24', false],
  ['255.255.255.0/24', false],
  ['2001:db8::/64', true],
  ['2001:db8::8000/113', false],
  ['2001:db9::/64', false],
])('among many endpoints, %s has one in it: %s', (prefix, isRefused) => {
  const many = Array.from({ length: 200 }, (_, at) => {
    const endpoint = at % 2 === 0 ? `[2001:db8::${at.toString(16)}]:1` : `192.0.2.${at + 1}:1`
    return nodeOf(at + 1, { endpoint, addresses: [`10.96.1.${at}`] })
  })
  const asking = nodeOf(250, { advertise: [prefix], endpoint: null })
  const { conflicts } = topology([...many, asking], place)
  const reasons = conflicts.map(({ reason }) => reason)
  expect(reasons).toEqual(
    isRefused ? [expect.stringMatching(/^the endpoint of node-\d+ is in/)] : [],
  )
})

const advertised = fc.array(
  fc
    .record({ at: fc.integer({ min: 0, max: 3 }), length: fc.constantFrom(8, 14, 16, 24) })
    .map(({ at, length }) => (length === 8 ? '10.0.0.0/8' : `172.${16 + at * 4}.0.0/${length}`)),
  { maxLength: 4 },
)
const nodes = fc
  .array(fc.record({ advertise: advertised, since: fc.integer({ min: 0, max: 3 }) }), {
    minLength: 1,
    maxLength: 6,
  })
  .map((all) => all.map((more, at): MeshNode => nodeOf(at + 1, more)))

test('whoever asks, a range has one holder, and every order of the nodes gives the same', () => {
  fc.assert(
    fc.property(nodes, (all) => {
      const holders = new Map<string, string>()
      for (const { id } of all) {
        const desired = topology(all, { ...place, self: id })
        expect(topology(all.toReversed(), { ...place, self: id })).toEqual(desired)
        for (const { publicKey, allowedIps } of desired.peers.values()) {
          for (const prefix of allowedIps) {
            expect(holders.get(prefix) ?? publicKey).toBe(publicKey)
            holders.set(prefix, publicKey)
          }
        }
        const own = parsePrefix(networks.ipv4)
        for (const route of desired.routes.slice(2)) {
          const prefix = parsePrefix(route)
          expect(prefix !== null && own !== null && overlaps(prefix, own)).toBe(false)
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('a default route is used by who asks for it, and of that node', () => {
  const everything = ['0.0.0.0/0', '::/0']
  const nodes = [
    nodeOf(1),
    nodeOf(2, { advertise: everything }),
    nodeOf(3, { advertise: everything }),
  ]
  const quiet = topology(nodes, place)
  expect(quiet.routes).not.toContain('0.0.0.0/0')
  expect(quiet.conflicts).toEqual([])
  const { routes, peers, conflicts } = topology(nodes, { ...place, defaultRoute: 'node-3' })
  expect(routes).toEqual(expect.arrayContaining(everything))
  const holders = [...peers.values()].filter(({ allowedIps }) => allowedIps.includes('::/0'))
  expect(holders.map(({ publicKey }) => publicKey)).toEqual([nodes[2]?.key])
  expect(conflicts).toEqual([])
  const none = topology(nodes, { ...place, defaultRoute: 'node-9' })
  const reason = 'no node of this name offers a default route'
  expect(none.conflicts).toEqual([{ node: 'node-9', prefix: '0.0.0.0/0', reason }])
})
