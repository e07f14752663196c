import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterEach, expect, test, vi } from 'vitest'
import { type Carrier, CarrierThread, type Way } from './carrier.ts'
import { nodeRecord, parseEndpoint } from './entry.ts'
import { type Identity, identityIn, passingIdentity } from './identity.ts'

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
  const thread = new CarrierThread({ identity, port, target, isMember, log: quiet })
  endings.push(() => thread.close())
  return { identity, device, members, thread }
}

/** One that serves another in that way, and knows it; its device is called `target`. */
async function pair(way: Way, target = endpoint) {
  const [own, other] = [await passingIdentity(), await passingIdentity()]
  const relay = await node(other, new Set([own.identity]), target)
  const port = relay.thread.serve(way, 0)
  const near = await node(own)
  const place = { endpoint, identity: other.identity }
  const connect = async (changes: Partial<typeof place> = {}): Promise<Carrier> =>
    near.thread.connect(way, { ...place, ...changes }, port)
  return { relay, place, port, near, connect }
}

function kept(carrier: Carrier): Carrier {
  endings.push(() => carrier.close())
  return carrier
}

function send(from: TestDevice, text: Buffer | string, endpoint: string): void {
  const { address = '', port = 0 } = parseEndpoint(endpoint) ?? {}
  from.socket.send(text, port, address)
}

const both = ['h3', 'tcp'] as const
const lengths = [1, 1_200, 1_420, 1_452, 4_000]

test.each(both.flatMap((way) => lengths.map((length) => [way, length] as const)))(
  'in %s packets of %i bytes pass both ways between two devices',
  async (way, length) => {
    const { relay, port, near, connect } = await pair(way)
    const carrier = kept(await connect())
    expect(carrier.place).toBe(`127.0.0.1:${port}/${way}`)
    const there = Buffer.alloc(length, 'a')
    send(near.device, there, carrier.endpoint)
    await vi.waitUntil(() => relay.device.got.length > 0, patience)
    const [first] = relay.device.got
    expect(first).toMatchObject({ message: there, address: expect.stringMatching(/^127\.77\./) })
    const seen = `${first?.address}:${first?.port}`
    expect(relay.thread.placeOf(seen)).toMatch(new RegExp(`^127\\.0\\.0\\.1:\\d+/${way}$`))
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
  const { place, port, near, relay, connect } = await pair('h3')
  const stranger = await node(await passingIdentity())
  await expect(stranger.thread.connect('h3', place, port)).rejects.toThrow('it answers 403')
  const wrong = { identity: near.identity.identity }
  await expect(connect(wrong)).rejects.toThrow('it is somebody else')
  relay.members.clear()
  await expect(connect()).rejects.toThrow('it answers 403')
})

test('in TCP, which has no word for it, a stranger is cut off', async () => {
  const { place, port, near, relay, connect } = await pair('tcp')
  const stranger = await node(await passingIdentity())
  const carrier = await stranger.thread.connect('tcp', place, port)
  await carrier.ended
  const wrong = { identity: near.identity.identity }
  await expect(connect(wrong)).rejects.toThrow('it is somebody else')
  relay.members.clear()
  await (
    await connect()
  ).ended
})

test('nothing but the device of the relay is reached through it', async () => {
  const { connect } = await pair('h3', '192.0.2.1:51820')
  await expect(connect()).rejects.toThrow('it answers 403')
})

test.each(both)('a node that comes anew in %s has one, and none as no member', async (way) => {
  const { relay, near, connect } = await pair(way)
  const first = kept(await connect())
  const second = kept(await connect())
  await first.ended
  relay.thread.review()
  send(near.device, 'still there', second.endpoint)
  await vi.waitUntil(() => relay.device.texts.includes('still there'), patience)
  relay.members.clear()
  relay.thread.review()
  await second.ended
})

test.each([
  ['h3', 'UDP'],
  ['tcp', 'TCP'],
] as const)('a port of %s that somebody has is refused in words', async (way, protocol) => {
  const { relay, near, port } = await pair(way)
  const said = `${protocol} port ${port} cannot be had`
  expect(() => near.thread.serve(way, port)).toThrow(said)
  await relay.thread.close()
  expect(near.thread.serve(way, port)).toBe(port)
})

test.each(both)('a relay that ends says so in %s', async (way) => {
  const { relay, connect } = await pair(way)
  const carrier = await connect()
  await relay.thread.close()
  await carrier.ended
})

/** As a node of an older version has it: each datagram after its length, over Node's own TLS. */
function frameOf(datagram: string): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(datagram.length)
  return Buffer.concat([head, Buffer.from(datagram, 'latin1')])
}

/** What an older version would have understood. */
async function framesIn(stream: TLSSocket, count: number): Promise<readonly string[]> {
  let bytes = Buffer.alloc(0)
  const frames: string[] = []
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, chunk as Buffer])
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE()) {
      const end = 2 + bytes.readUInt16BE()
      frames.push(bytes.toString('latin1', 2, end))
      bytes = bytes.subarray(end)
    }
    if (frames.length >= count) break
  }
  return frames
}

const tlsOf = ({ key, certificate: cert }: Identity) => ({ key, cert, rejectUnauthorized: false })
const long = 'x'.repeat(4_200)

test('a node of an older version is carried in TCP', async () => {
  const { relay, port } = await pair('tcp')
  const identity = await passingIdentity()
  relay.members.add(identity.identity)
  const stream = connectTls({ port, host: '127.0.0.1', ...tlsOf(identity) })
  endings.push(() => stream.destroy())
  await once(stream, 'secureConnect')
  const bytes = Buffer.concat(['one', 'two', '', long].map(frameOf))
  for (const part of [bytes.subarray(0, 1), bytes.subarray(1, 6), bytes.subarray(6)]) {
    stream.write(part)
  }
  await vi.waitUntil(() => relay.device.got.length > 2, patience)
  expect(relay.device.texts).toEqual(['one', 'two', long])
  const [first] = relay.device.got
  const seen = `${first?.address}:${first?.port}`
  for (const text of ['back', long]) send(relay.device, text, seen)
  expect(await framesIn(stream, 2)).toEqual(['back', long])
  // A frame that is longer than any packet ends it.
  stream.write(frameOf(`${long}x`))
  await once(stream, 'close')
})

test('a relay of an older version carries in TCP', async () => {
  const identity = await passingIdentity()
  const near = await node(await passingIdentity())
  const server = createTlsServer({ ...tlsOf(identity), requestCert: true }).listen(0, '127.0.0.1')
  endings.push(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const coming = once(server, 'secureConnection') as Promise<[TLSSocket]>
  const place = { endpoint, identity: identity.identity }
  const carrier = kept(await near.thread.connect('tcp', place, port))
  const [stream] = await coming
  endings.push(() => stream.destroy())
  const shown = stream.getPeerX509Certificate()
  expect(shown === undefined ? null : identityIn(shown)).toBe(near.identity.identity)
  for (const text of ['there', long]) send(near.device, text, carrier.endpoint)
  expect(await framesIn(stream, 2)).toEqual(['there', long])
  stream.write(Buffer.concat([frameOf('back'), frameOf('again')]))
  await vi.waitUntil(() => near.device.got.length > 1, patience)
  expect(near.device.texts).toEqual(['back', 'again'])
  stream.destroy()
  await carrier.ended
})

test('whoever shows no certificate, or none of a node, is cut off', async () => {
  const { port } = await pair('tcp')
  const nobody = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  nobody.on('error', () => undefined)
  await once(nobody, 'close')
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
