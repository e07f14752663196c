import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  afterApplying,
  type Applied,
  type DeviceDelta,
  nothingApplied,
  reconcile,
} from './reconcile.ts'
import type { DesiredPeer } from './topology.ts'

const ranges = fc.uniqueArray(fc.constantFrom('10.1.0.0/16', '10.2.0.0/16', 'fd01::/64'))
const peer = fc.record({
  publicKey: fc.constantFrom('a', 'b', 'c'),
  allowedIps: ranges,
  standbyIps: ranges,
  endpoint: fc.constantFrom('192.0.2.1:1', '192.0.2.2:1'),
  keepaliveS: fc.constantFrom(0, 25),
  relays: fc.uniqueArray(fc.constantFrom('d', 'e')),
  candidates: fc.uniqueArray(fc.constantFrom('192.0.2.3:1', '192.0.2.4:1')),
})
const state = fc
  .record({
    addresses: ranges,
    routes: ranges,
    peers: fc.array(peer),
    forwards: fc.boolean(),
    ownRanges: ranges,
  })
  .map(({ peers, ...rest }): Applied => ({
    ...rest,
    peers: new Map(peers.map((one) => [one.publicKey, one])),
  }))

test('after the steps the device has what it should have', () => {
  fc.assert(
    fc.property(state, state, (before, wanted) => {
      const delta = reconcile(before, wanted)
      const after = delta === null ? before : carriedOut(before, delta)
      expect(sorted(after)).toEqual(sorted(wanted))
    }),
  )
})

test('nothing to do is no steps at all', () => {
  fc.assert(
    fc.property(state, (wanted) => {
      expect(reconcile(wanted, wanted)).toBeNull()
    }),
  )
})

test('an endpoint that packets taught is left alone while the wanted one stays', () => {
  const facts = { allowedIps: ['10.1.0.0/16'], standbyIps: [], relays: ['d'], candidates: [] }
  const wanted = withPeer({ ...facts, keepaliveS: 0 })
  const changed = withPeer({ ...facts, keepaliveS: 25 })
  expect(reconcile(wanted, changed)?.peers).toEqual([{ publicKey: 'a', keepaliveS: 25 }])
})

test('what the kernel refused is tried again, and only that', () => {
  const wanted: Applied = { ...nothingApplied, routes: ['10.1.0.0/16', '10.2.0.0/16'] }
  const applied = afterApplying(wanted, new Set(['10.2.0.0/16']))
  expect(reconcile(applied, wanted)).toMatchObject({ addRoutes: ['10.2.0.0/16'], peers: [] })
})

test('a peer that hears one key is told as such, and as no such once it hears two', () => {
  const ways = { allowedIps: [], standbyIps: [], keepaliveS: 0, relays: [], candidates: [] }
  const [one, two] = [withPeer({ ...ways, hearsOneKey: true }), withPeer(ways)]
  expect(reconcile(nothingApplied, one)?.peers).toMatchObject([{ hearsOneKey: true }])
  expect(reconcile(one, two)?.peers).toEqual([{ publicKey: 'a', hearsOneKey: false }])
  expect(reconcile(two, two)).toBeNull()
})

function withPeer(more: Omit<DesiredPeer, 'publicKey' | 'endpoint'>): Applied {
  const one = { publicKey: 'a', endpoint: '192.0.2.1:1', ...more }
  return { ...nothingApplied, peers: new Map([['a', one]]) }
}

function carriedOut(before: Applied, delta: DeviceDelta): Applied {
  const peers = new Map(before.peers)
  for (const { publicKey, ...change } of delta.peers) {
    const ways = { endpoint: null, standbyIps: [], relays: [], candidates: [] }
    const fresh = { publicKey, allowedIps: [], keepaliveS: 0, ...ways }
    peers.set(publicKey, { ...(peers.get(publicKey) ?? fresh), ...change })
  }
  for (const key of delta.removePeers) peers.delete(key)
  const changed = (had: readonly string[], add: readonly string[], remove: readonly string[]) =>
    [...had, ...add].filter((one) => !remove.includes(one))
  return {
    addresses: changed(before.addresses, delta.addAddresses, delta.removeAddresses),
    routes: changed(before.routes, delta.addRoutes, delta.removeRoutes),
    peers,
    forwards: delta.forwards ?? before.forwards,
    ownRanges: delta.ownRanges ?? before.ownRanges,
  }
}

function sorted({ addresses, routes, peers, ...rest }: Applied) {
  return {
    ...rest,
    addresses: addresses.toSorted(),
    routes: routes.toSorted(),
    peers: new Map([...peers].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }
}
