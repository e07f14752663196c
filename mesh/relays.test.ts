import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeOf as nodeFrom } from './node.ts'
import { entryOf, nodeOf } from './node.fixture.ts'
import { meshLimits } from './limits.ts'
import { passingIdentity, signRecord } from './identity.ts'
import { candidatesHere, outsideOf, Relays, type Ways } from './relays.ts'
import { type MeshNode, type Place, topology } from './topology.ts'

const none: Ways = { isRelay: false, candidates: [], isGuess: false }
const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }

/** A node whose id is a hash, as real ones are. */
function hashed(number: number, ways: Partial<Ways> = {}, more: Partial<MeshNode> = {}): MeshNode {
  const id = ((number * 0x9e3779b1) >>> 0).toString(16).padStart(8, '0').repeat(4)
  return nodeOf(number % 250, { id, name: `node-${number}`, ways: { ...none, ...ways }, ...more })
}

const relay = (number: number): MeshNode => hashed(number, { isRelay: true })

function peersOf(self: MeshNode, nodes: readonly MeshNode[], place: Partial<Place> = {}) {
  const where = { self: self.id, networks, outside: [], isBehindNat: false, knowsRelays: true }
  return topology(nodes, { ...where, ...place }).peers
}

test('each node has two relays, none of which is itself', () => {
  const nodes = [relay(1), relay(2), relay(3), hashed(4), hashed(5)]
  const relays = new Relays(nodes)
  for (const node of nodes) {
    const names = relays.of(node).map(({ id }) => id)
    expect(new Set(names).size).toBe(meshLimits.relaysPerNode)
    expect(names).not.toContain(node.id)
  }
  expect(new Relays([relay(1), hashed(2)]).of(hashed(2))).toEqual([relay(1)])
  expect(new Relays([hashed(1)]).of(hashed(2))).toEqual([])
})

test('relays are chosen evenly, and one that leaves moves only those whom it served', () => {
  const relays = Array.from({ length: 10 }, (_, at) => relay(at + 1))
  const nodes = Array.from({ length: 2_000 }, (_, at) => hashed(at + 100))
  const [before, after] = [new Relays(relays), new Relays(relays.slice(1))]
  const counts = new Map<string, number>()
  for (const node of nodes) {
    const served = before.of(node).map(({ id }) => id)
    for (const id of served) counts.set(id, (counts.get(id) ?? 0) + 1)
    if (served.includes(relays[0]?.id ?? '')) continue
    expect(after.of(node).map(({ id }) => id)).toEqual(served)
  }
  for (const count of counts.values()) expect(count).toBeGreaterThan(200)
})

test('more relays than are counted are none', () => {
  const relays = Array.from({ length: meshLimits.relaysMax + 50 }, (_, at) => relay(at + 1))
  const counted = new Set(relays.slice(0, meshLimits.relaysMax).map(({ id }) => id))
  const chosen = Array.from({ length: 500 }, (_, at) => new Relays(relays).of(hashed(at + 1_000)))
  for (const { id } of chosen.flat()) expect(counted.has(id)).toBe(true)
})

test('whoever asks, a node is reached through the same relays, and never through the asker', () => {
  const some = fc.array(fc.boolean(), { minLength: 2, maxLength: 12 })
  fc.assert(
    fc.property(some, (kinds) => {
      const nodes = kinds.map((isRelay, at) => hashed(at + 1, { isRelay }))
      const relays = new Relays(nodes)
      for (const self of nodes) {
        for (const node of nodes.filter(({ id }) => id !== self.id)) {
          const expected = relays.of(node).filter(({ id }) => id !== self.id)
          const found = peersOf(self, nodes).get(node.key)?.relays
          expect(found).toEqual(expected.map(({ key }) => key))
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('with a relay, an address that the coordinator guessed is a candidate only', () => {
  const self = hashed(1)
  const hidden = hashed(
    2,
    { isGuess: true, candidates: ['10.0.0.2:1'] },
    { endpoint: '192.0.2.2:1' },
  )
  const found = (nodes: readonly MeshNode[]) => peersOf(self, nodes).get(hidden.key)
  expect(found([self, hidden, relay(3)])).toMatchObject({
    endpoint: null,
    relays: [relay(3).key],
    candidates: ['10.0.0.2:1', '192.0.2.2:1'],
  })
  const without = { endpoint: '192.0.2.2:1', relays: [], candidates: [] }
  expect(found([self, hidden])).toMatchObject(without)
  // Of a foreign device nobody knows what it understands; and this one may understand nothing.
  const { ways, ...foreign } = hidden
  expect(ways).toBeDefined()
  expect(found([self, foreign, relay(3)])).toMatchObject({ ...without, hearsOneKey: true })
  const nodes = [self, hidden, relay(3)]
  const plain = peersOf(self, nodes, { knowsRelays: false }).get(hidden.key)
  expect(plain).toMatchObject(without)
})

test('in a large mesh a node behind a NAT keeps its paths to its relays open only', () => {
  const self = hashed(1)
  const kept = (count: number) => {
    const others = Array.from({ length: count }, (_, at) =>
      hashed(
        at + 10,
        {},
        {
          key: Buffer.alloc(32, `${at}`).toString('base64'),
          addresses: [`10.96.${100 + (at >> 8)}.${at & 255}`],
        },
      ),
    )
    const nodes = [self, relay(3), relay(4), relay(5), ...others]
    const peers = [...peersOf(self, nodes, { isBehindNat: true }).values()]
    return peers.filter(({ keepaliveS }) => keepaliveS > 0).map(({ publicKey }) => publicKey)
  }
  expect(kept(10)).toHaveLength(13)
  const relays = [relay(3), relay(4), relay(5)].map(({ key }) => key)
  const few = kept(meshLimits.keepaliveNodesMax)
  expect(few).toHaveLength(2)
  for (const key of few) expect(relays).toContain(key)
})

test('a record becomes ways: a relay needs an endpoint, ranges behind it are none', async () => {
  const identity = await passingIdentity()
  const facts = { name: 'a', key: identity.wireguard.publicKey, port: 1, serial: 1 }
  const waysFrom = (more: object, observed: string | null) => {
    const record = { ...facts, endpoint: null, advertise: ['10.30.0.0/16'], ...more }
    const entry = { ...entryOf('a'), observed, granted: ['10.40.0.0/16'] }
    const signed = { ...entry, identity: identity.identity, ...signRecord(identity, record) }
    return nodeFrom(signed)?.ways
  }
  expect(waysFrom({}, '192.0.2.1')).toBeUndefined()
  const candidates = ['192.0.2.1:1', '10.30.0.1:1', '10.40.0.1:1', '[fd01::1]:1']
  const seen = ['192.0.2.1:1', '[fd01::1]:1']
  expect(waysFrom({ candidates, isRelay: true }, '192.0.2.1')).toEqual({
    isRelay: false,
    candidates: seen,
    isGuess: false,
  })
  expect(waysFrom({ candidates }, '198.51.100.1')?.isGuess).toBe(true)
  const public_ = { candidates, isRelay: true, endpoint: '192.0.2.9:1' }
  expect(waysFrom(public_, '198.51.100.1')).toMatchObject({ isRelay: true, isGuess: false })
  const many = Array.from({ length: meshLimits.candidatesMax + 1 }, () => '192.0.2.1:1')
  const entry = { ...entryOf('a'), identity: identity.identity }
  const record = { ...facts, endpoint: null, advertise: [], candidates: many }
  expect(nodeFrom({ ...entry, ...signRecord(identity, record) })).toBeNull()
})

test('addresses of the mesh, of a link and of the machine itself are no candidates', () => {
  expect(
    outsideOf(['10.96.0.1', '10.97.0.1', 'fd00::1', 'fd01::1', 'x'], ['10.96.0.0/16', 'fd00::/64']),
  ).toEqual(['10.97.0.1', 'fd01::1'])
  const here = candidatesHere(51_820, null)
  expect(here.length).toBeLessThanOrEqual(meshLimits.candidatesMax)
  for (const text of here) expect(text).toMatch(/^(?!127\.|\[::1\]|\[fe80|169\.254).*:51820$/)
})
