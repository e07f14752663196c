import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { type Carrier, serveCarriers } from './carrier.ts'
import { Carriers } from './carriers.ts'
import { nodeRecord, parseEndpoint } from './entry.ts'
import { H3Carriers } from './h3-carriers.ts'
import { type Identity, passingIdentity } from './identity.ts'
import { meshLimits } from './limits.ts'
import { statsOf } from './node.fixture.ts'

const patience = { timeout: 20_000, interval: 20 }
/** What relays call their device; its address is where they take HTTP/3 as well. */
const endpoint = '127.0.0.1:51820'
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end()
})

/** Stands for a device: remembers what it got, and from where. */
class TestDevice {
  readonly socket: Socket = createSocket('udp4')
  readonly got: { readonly message: Buffer; readonly port: number; readonly address: string }[] = []

  async begin(): Promise<number> {
    this.socket.on('message', (message, { port, address }) => {
      this.got.push({ message, port, address })
    })
    this.socket.bind(0, '127.0.0.1')
    await once(this.socket, 'listening')
    endings.push(() => this.socket.close())
    return this.socket.address().port
  }

  get texts(): readonly string[] {
    return this.got.map(({ message }) => message.toString('latin1'))
  }
}

/** A node with its device; `members` can be changed. */
async function node(identity: Identity, members = new Set<string>(), target = endpoint) {
  const device = new TestDevice()
  const port = await device.begin()
  const isMember = (who: string): boolean => members.has(who)
  const h3 = new H3Carriers({ identity, port, target, isMember, log: quiet })
  endings.push(() => h3.close())
  return { identity, device, members, h3, parts: { identity, port } }
}

/** One that serves another, which it knows; its device is called `target`. */
async function pair(target = endpoint) {
  const [own, other] = [await passingIdentity(), await passingIdentity()]
  const relay = await node(other, new Set([own.identity]), target)
  const place = { endpoint, h3Port: relay.h3.serve(0), identity: other.identity }
  return { relay, place, near: await node(own) }
}

function kept(carrier: Carrier): Carrier {
  endings.push(() => carrier.close())
  return carrier
}

function send(from: TestDevice, text: Buffer | string, endpoint: string): void {
  const { address = '', port = 0 } = parseEndpoint(endpoint) ?? {}
  from.socket.send(text, port, address)
}

test.each([1, 1_200, 1_420, 1_452, 4_000])(
  'packets of %i bytes pass both ways between two devices',
  async (length) => {
    const { relay, place, near } = await pair()
    const carrier = kept(await near.h3.connect(place))
    expect(carrier.place).toBe(`127.0.0.1:${place.h3Port}/h3`)
    const there = Buffer.alloc(length, 'a')
    send(near.device, there, carrier.endpoint)
    await vi.waitUntil(() => relay.device.got.length > 0, patience)
    const [first] = relay.device.got
    expect(first).toMatchObject({ message: there, address: expect.stringMatching(/^127\.77\./) })
    const seen = `${first?.address}:${first?.port}`
    expect(relay.h3.placeOf(seen)).toMatch(/^127\.0\.0\.1:\d+\/h3$/)
    const back = Buffer.alloc(length, 'b')
    send(relay.device, back, seen)
    await vi.waitUntil(() => near.device.got.length > 0, patience)
    expect(near.device.got[0]?.message).toEqual(back)
    // Nobody else on this machine speaks through it.
    const stranger = new TestDevice()
    await stranger.begin()
    send(stranger, 'stranger', carrier.endpoint)
    send(near.device, 'last', carrier.endpoint)
    await vi.waitUntil(() => relay.device.got.length > 1, patience)
    expect(relay.device.texts[1]).toBe('last')
  },
)

test('a stranger is not served, and a relay that is another one is not used', async () => {
  const { place, near, relay } = await pair()
  const stranger = await node(await passingIdentity())
  await expect(stranger.h3.connect(place)).rejects.toThrow('it answers 403')
  const wrong = { ...place, identity: near.identity.identity }
  await expect(near.h3.connect(wrong)).rejects.toThrow('it is somebody else')
  relay.members.clear()
  await expect(near.h3.connect(place)).rejects.toThrow('it answers 403')
})

test('nothing but the device of the relay is reached through it', async () => {
  const { place, near } = await pair('192.0.2.1:51820')
  await expect(near.h3.connect(place)).rejects.toThrow('it answers 403')
})

test('a node that comes anew has one connection, and none when it is no member', async () => {
  const { relay, place, near } = await pair()
  const first = kept(await near.h3.connect(place))
  const second = kept(await near.h3.connect(place))
  await first.ended
  relay.h3.review()
  send(near.device, 'still there', second.endpoint)
  await vi.waitUntil(() => relay.device.texts.includes('still there'), patience)
  relay.members.clear()
  relay.h3.review()
  await second.ended
})

test('a port that somebody has is refused in words', async () => {
  const { relay, near, place } = await pair()
  expect(() => near.h3.serve(place.h3Port)).toThrow(`UDP port ${place.h3Port} cannot be had`)
  await relay.h3.close()
  expect(near.h3.serve(place.h3Port)).toBe(place.h3Port)
})

test('a relay that ends says so', async () => {
  const { relay, place, near } = await pair()
  const carrier = await near.h3.connect(place)
  await relay.h3.close()
  await carrier.ended
})

test('HTTP/3 comes before TCP, and TCP where it does not come about', async () => {
  const { relay, place, near } = await pair()
  const identity = await passingIdentity()
  const parts = { identity, port: near.parts.port }
  const server = await serveCarriers(parts, 0, () => true)
  endings.push(() => server.close())
  const device = {
    apply: async () => [],
    stats: async () => [
      statsOf({ publicKey: 'k', isSilent: false, lastHandshakeMs: null }),
      statsOf({ publicKey: 't', isSilent: false, lastHandshakeMs: null }),
    ],
  }
  const both = { ...place, key: 'k', name: 'both', isOwn: true, tcpPort: server.port }
  // A port that takes connections and says nothing, as a firewall's would.
  const nobody = createServer().listen(0, '127.0.0.1')
  endings.push(() => nobody.close())
  const { identity: who } = identity
  const deaf = { ...both, key: 't', name: 'deaf', identity: who, h3Port: 1 }
  const relays = () => [both, deaf]
  const carriers = new Carriers({
    ...near.parts,
    device,
    h3: near.h3,
    relays,
    wake: () => undefined,
    log: quiet,
  })
  await carriers.look(relays(), 0)
  await carriers.look(relays(), meshLimits.carrierPatienceMs)
  expect(carriers.placeOf('k')).toBe(`127.0.0.1:${place.h3Port}/h3`)
  expect(carriers.placeOf('t')).toBe(`127.0.0.1:${server.port}/tcp`)
  await carriers.look([], meshLimits.carrierPatienceMs)
  await vi.waitUntil(() => carriers.placeOf('k') === null, patience)
  expect(relay.h3).toBeDefined()
})

test('a record names the port, and a port is one', () => {
  const key = Buffer.alloc(32, 1).toString('base64')
  const record = { name: 'relay', key, port: 1, endpoint: null, advertise: [], serial: 1 }
  expect(nodeRecord.parse({ ...record, h3Port: 443 }).h3Port).toBe(443)
  for (const h3Port of [0, 65_536, '443', 1.5]) {
    expect(nodeRecord.safeParse({ ...record, h3Port }).success, String(h3Port)).toBe(false)
  }
  // As an agent that knows nothing of it reads one: what is not known is left alone.
  expect(nodeRecord.parse({ ...record, h4Port: 443 })).toEqual(record)
})
