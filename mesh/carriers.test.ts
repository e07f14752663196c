import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import { CarrierThread } from './carrier.ts'
import { Carriers } from './carriers.ts'
import { type Identity, passingIdentity } from './identity.ts'
import { meshLimits } from './limits.ts'
import { statsOf } from './node.fixture.ts'
import type { DeviceDelta } from './reconcile.ts'

const patience = { timeout: 20_000, interval: 20 }
const endpoint = '127.0.0.1:51820'
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end()
})

/** A node, which lets everybody in; its device is a socket that says nothing. */
async function node(identity: Identity): Promise<CarrierThread> {
  const device = createSocket('udp4').bind(0, '127.0.0.1')
  await once(device, 'listening')
  const { port } = device.address()
  const parts = { identity, port, target: endpoint, isMember: () => true, log: quiet }
  const thread = new CarrierThread(parts)
  endings.push(
    () => device.close(),
    () => thread.close(),
  )
  return thread
}

test('a relay that is silent is reached by TCP, and by UDP when that ends', async () => {
  const other = await passingIdentity()
  const [thread, relay] = [await node(await passingIdentity()), await node(other)]
  const tcpPort = relay.serve('tcp', 0)
  const deltas: DeviceDelta[] = []
  const seen = { isSilent: false, lastHandshakeMs: null as number | null }
  const device = {
    apply: async (delta: DeviceDelta) => {
      deltas.push(delta)
      return []
    },
    stats: async () => [statsOf({ publicKey: 'k', ...seen })],
  }
  const { identity } = other
  const place = { endpoint: '127.0.0.1:1', identity, tcpPort, h3Port: null }
  const one = { ...place, key: 'k', name: 'relay', isOwn: true }
  const woken: string[] = []
  const wake = (key: string) => void woken.push(key)
  const carriers = new Carriers({ device, thread, relays: () => [one], wake, log: quiet })
  const places = () => deltas.map(({ peers }) => peers[0]?.endpoint)
  await carriers.look([one], 0)
  await carriers.look([one], meshLimits.carrierPatienceMs - 1)
  expect(places()).toEqual([])
  // Nobody may have asked it by UDP yet: once is enough to find out.
  expect(woken).toEqual(['k'])
  await carriers.look([one], meshLimits.carrierPatienceMs)
  expect(places()).toEqual([expect.stringMatching(/^127\.77\./)])
  expect(carriers.placeOf('k')).toBe(`127.0.0.1:${tcpPort}/tcp`)
  seen.isSilent = true
  seen.lastHandshakeMs = 1_000
  for (let look = 0; look < meshLimits.carrierSilencesMax; look += 1) {
    await carriers.look([one], 10_000)
  }
  await vi.waitUntil(() => deltas.length === 2, patience)
  expect([places()[1], carriers.placeOf('k')]).toEqual(['127.0.0.1:1', null])
  // The next look tries again: silence has been long enough.
  await carriers.look([one], meshLimits.carrierPatienceMs + meshLimits.carrierRetryMs)
  await vi.waitUntil(() => deltas.length === 3, patience)
  await carriers.look([], 30_000)
  await vi.waitUntil(() => carriers.placeOf('k') === null, patience)
})

test('HTTP/3 comes before TCP, and TCP where it does not come about', async () => {
  const other = await passingIdentity()
  const [thread, relay] = [await node(await passingIdentity()), await node(other)]
  const [h3Port, tcpPort] = [relay.serve('h3', 0), relay.serve('tcp', 0)]
  const device = {
    apply: async () => [],
    stats: async () => [
      statsOf({ publicKey: 'k', isSilent: false, lastHandshakeMs: null }),
      statsOf({ publicKey: 't', isSilent: false, lastHandshakeMs: null }),
    ],
  }
  const { identity } = other
  const both = { endpoint, identity, h3Port, tcpPort, key: 'k', name: 'both', isOwn: true }
  const deaf = { ...both, key: 't', name: 'deaf', h3Port: 1 }
  const relays = () => [both, deaf]
  const wake = () => undefined
  const carriers = new Carriers({ device, thread, relays, wake, log: quiet })
  await carriers.look(relays(), 0)
  await carriers.look(relays(), meshLimits.carrierPatienceMs)
  expect(carriers.placeOf('k')).toBe(`127.0.0.1:${h3Port}/h3`)
  expect(carriers.placeOf('t')).toBe(`127.0.0.1:${tcpPort}/tcp`)
  await carriers.look([], meshLimits.carrierPatienceMs)
  await vi.waitUntil(() => carriers.placeOf('k') === null, patience)
})
