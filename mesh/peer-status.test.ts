import { expect, test } from 'vitest'
import type { PeerStats } from './device.ts'
import { nodeOf, statsOf } from './node.fixture.ts'
import { pathOf, peerBehind, peerStatus } from './peer-status.ts'
import { topology } from './topology.ts'

const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }
const place = { self: 'id-1', networks, outside: [], isBehindNat: false }

function told(more: Partial<PeerStats>) {
  const nameOf = (key: string) => (key === 'r' ? 'gateway' : undefined)
  const status = peerStatus(nodeOf(2), { stats: statsOf(more), desired: undefined }, nameOf)
  const { path, relay, whyNotDirect } = status
  return [path, relay, whyNotDirect]
}

const cases: readonly (readonly [string, Partial<PeerStats>, readonly unknown[]])[] = [
  ['direct', {}, ['direct', null, null]],
  [
    'a relay before anything is known',
    { path: 'relay', relay: 'r', endpoint: null, whyNotDirect: 'no endpoint' },
    ['relay', 'gateway', expect.stringContaining('none of its addresses')],
  ],
  [
    'a relay while nothing is proven',
    { path: 'relay', relay: 'r', whyNotDirect: 'unproven' },
    ['relay', 'gateway', expect.stringContaining('192.0.2.2:51820 has not answered a probe')],
  ],
  [
    'a relay after a cut',
    { path: 'relay', relay: 'r', whyNotDirect: 'silent' },
    ['relay', 'gateway', 'nothing comes back from 192.0.2.2:51820 any more'],
  ],
  [
    'no session, whichever way was tried',
    { path: 'relay', relay: 'r', whyNotDirect: 'unproven', lastHandshakeMs: null },
    ['none', null, expect.stringContaining('has not answered yet')],
  ],
  [
    'nobody ever wanted anything of it',
    { lastHandshakeMs: null, receivedBytes: 0, sentBytes: 0 },
    ['none', null, 'nothing was sent to 192.0.2.2:51820 yet, and nothing came'],
  ],
  [
    'a session that is over',
    { lastHandshakeMs: 200_000 },
    ['none', null, expect.stringContaining('no handshake for more than 180 s')],
  ],
]
test.each(cases)('the path and why: %s', (_, more, expected) => {
  expect(told(more)).toEqual(expected)
})

test('of a node behind a leader it says where that is, and whose leaders are away', () => {
  const [leader, other] = [nodeOf(2, { name: 'n1' }), nodeOf(3, { name: 's1' })]
  const known = { stats: statsOf(), desired: undefined, missing: [] }
  const of = (location: string | undefined, more: Partial<typeof known> | object = {}) => {
    const node = nodeOf(4, location === undefined ? {} : { location })
    const { path, whyNotDirect } = peerBehind(node, leader, { ...known, ...more })
    return [path, whyNotDirect]
  }
  expect(of('south')).toEqual(['leader', 'it is in location south: reached through n1'])
  expect(of(undefined)).toEqual(['leader', 'it is in no location: reached through n1'])
  const away = 'it is in location south, whose leaders are away (s1): reached through n1'
  expect(of('south', { missing: [other] })).toEqual(['leader', away])
  const [path, why] = of('south', { stats: statsOf({ lastHandshakeMs: 200_000 }) })
  expect(path).toBe('none')
  expect(why).toContain('reached through n1; no handshake for more than 180 s')
})

test('of a peer that the device never used nobody says that it does not answer', () => {
  const desired = topology([nodeOf(1), nodeOf(2)], place).peers.get(nodeOf(2).key)
  const { path, whyNotDirect } = peerStatus(nodeOf(2), { stats: undefined, desired }, () => '')
  expect([path, whyNotDirect]).toEqual([
    'none',
    'nothing was sent to 192.0.2.2:51820 yet, and nothing came',
  ])
})

test('a peer that the device does not have is reached by no path', () => {
  expect(pathOf(undefined)).toBe('none')
})
