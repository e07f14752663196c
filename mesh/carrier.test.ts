import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { type Carrier, connectCarrier, Frames, frameOf, serveCarriers } from './carrier.ts'
import { Carriers } from './carriers.ts'
import { H3Carriers } from './h3-carriers.ts'
import { parseEndpoint } from './entry.ts'
import { type Identity, passingIdentity } from './identity.ts'
import { meshLimits } from './limits.ts'
import { statsOf } from './node.fixture.ts'
import type { DeviceDelta } from './reconcile.ts'

const patience = { timeout: 20_000, interval: 20 }
const endings: (() => void)[] = []
afterEach(() => {
  for (const end of endings.splice(0)) end()
})

/** Stands for a device: remembers what it got, and from where. */
class TestDevice {
  readonly socket: Socket = createSocket('udp4')
  readonly got: { readonly text: string; readonly port: number; readonly address: string }[] = []

  async begin(): Promise<number> {
    this.socket.on('message', (message, { port, address }) => {
      this.got.push({ text: message.toString(), port, address })
    })
    this.socket.bind(0)
    await once(this.socket, 'listening')
    endings.push(() => this.socket.close())
    return this.socket.address().port
  }
}

async function relay(identity: Identity, members: readonly string[]) {
  const device = new TestDevice()
  const parts = { identity, port: await device.begin() }
  const server = await serveCarriers(parts, 0, (who) => members.includes(who))
  endings.push(() => server.close())
  const place = { endpoint: '127.0.0.1:1', tcpPort: server.port, identity: identity.identity }
  return { device, place }
}

async function node(identity: Identity) {
  const device = new TestDevice()
  return { device, parts: { identity, port: await device.begin() } }
}

function kept(carrier: Carrier): Carrier {
  endings.push(() => carrier.close())
  return carrier
}

test('datagrams come out of a connection as they went in, however it is cut', () => {
  const datagrams = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 })
  fc.assert(
    fc.property(datagrams, fc.integer({ min: 1, max: 97 }), (all, step) => {
      const bytes = Buffer.concat(all.map((one) => frameOf(Buffer.from(one))))
      const frames = new Frames()
      const got: string[] = []
      for (let at = 0; at < bytes.length; at += step) {
        for (const one of frames.take(bytes.subarray(at, at + step))) got.push(one.toString('hex'))
      }
      expect(got).toEqual(all.map((one) => Buffer.from(one).toString('hex')))
    }),
  )
})

test('a frame that is longer than any packet ends the connection', () => {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(meshLimits.carrierFrameBytesMax + 1)
  expect(() => new Frames().take(head)).toThrow('a frame is too long')
})

test('packets pass both ways between two devices', async () => {
  const [own, other] = [await passingIdentity(), await passingIdentity()]
  const { device: far, place } = await relay(other, [own.identity])
  const { device, parts } = await node(own)
  const carrier = kept(await connectCarrier(parts, place))
  const { address = '', port = 0 } = parseEndpoint(carrier.endpoint) ?? {}
  expect(address).toMatch(/^127\.77\./)
  device.socket.send('there', port, address)
  await vi.waitUntil(() => far.got.length > 0, patience)
  const [first] = far.got
  expect(first).toMatchObject({ text: 'there', address: expect.stringMatching(/^127\.77\./) })
  far.socket.send('back', first?.port ?? 0, first?.address)
  await vi.waitUntil(() => device.got.length > 0, patience)
  expect(device.got[0]).toMatchObject({ text: 'back', port, address })
  // Nobody else on this machine speaks through it.
  const stranger = new TestDevice()
  await stranger.begin()
  stranger.socket.send('stranger', port, address)
  device.socket.send('last', port, address)
  await vi.waitUntil(() => far.got.length > 1, patience)
  expect(far.got.map(({ text }) => text)).toEqual(['there', 'last'])
})

test('a stranger is not served, and a relay that is another one is not used', async () => {
  const [own, other] = [await passingIdentity(), await passingIdentity()]
  const { place } = await relay(other, [])
  const { parts } = await node(own)
  const carrier = await connectCarrier(parts, place)
  await carrier.ended
  const { place: known } = await relay(other, [own.identity])
  const wrong = { ...known, identity: own.identity }
  await expect(connectCarrier(parts, wrong)).rejects.toThrow('it is somebody else')
  const nobody = connect({ port: known.tcpPort, rejectUnauthorized: false })
  nobody.on('error', () => undefined)
  await once(nobody, 'close')
})

test('a node that comes anew has one connection', async () => {
  const [own, other] = [await passingIdentity(), await passingIdentity()]
  const { place } = await relay(other, [own.identity])
  const { parts } = await node(own)
  const first = kept(await connectCarrier(parts, place))
  kept(await connectCarrier(parts, place))
  await first.ended
})

test('a relay that is silent is reached by TCP, and by UDP when that ends', async () => {
  const [own, other] = [await passingIdentity(), await passingIdentity()]
  const { place } = await relay(other, [own.identity])
  const { parts } = await node(own)
  const deltas: DeviceDelta[] = []
  const seen = { isSilent: false, lastHandshakeMs: null as number | null }
  const device = {
    apply: async (delta: DeviceDelta) => {
      deltas.push(delta)
      return []
    },
    stats: async () => [statsOf({ publicKey: 'k', ...seen })],
  }
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const one = { ...place, h3Port: null, key: 'k', name: 'relay', isOwn: true }
  const h3 = new H3Carriers({ ...parts, target: null, isMember: () => false, log })
  const woken: string[] = []
  const wake = (key: string) => void woken.push(key)
  const carriers = new Carriers({ ...parts, device, h3, relays: () => [one], wake, log })
  const places = () => deltas.map(({ peers }) => peers[0]?.endpoint)
  await carriers.look([one], 0)
  await carriers.look([one], meshLimits.carrierPatienceMs - 1)
  expect(places()).toEqual([])
  // Nobody may have asked it by UDP yet: once is enough to find out.
  expect(woken).toEqual(['k'])
  await carriers.look([one], meshLimits.carrierPatienceMs)
  expect(places()).toEqual([expect.stringMatching(/^127\.77\./)])
  expect(carriers.placeOf('k')).toBe(`127.0.0.1:${place.tcpPort}/tcp`)
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
