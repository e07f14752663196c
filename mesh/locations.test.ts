import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeOf } from './node.fixture.ts'
import { contains, hostPrefix, parseAddress, parsePrefix } from './prefix.ts'
import { type Desired, type MeshNode, type Place, topology } from './topology.ts'

const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }
const nobody: ReadonlySet<string> = new Set()

/** Every node with what its device should have. */
type Mesh = ReadonlyMap<MeshNode, Desired>

function meshOf(
  nodes: readonly MeshNode[],
  silentFor: (node: MeshNode) => ReadonlySet<string> = () => nobody,
): Mesh {
  return new Map(
    nodes.map((node) => {
      const silent = silentFor(node)
      const place: Place = { self: node.id, networks, outside: [], isBehindNat: false, silent }
      return [node, topology(nodes, { ...place, knowsRelays: true })]
    }),
  )
}

function inMesh(name: string, number: number, more: Partial<MeshNode> = {}): MeshNode {
  const id = (0x9e3779b1 * number).toString(16).padStart(8, '0').slice(-8) + number
  return nodeOf(number, { ...more, id, name })
}

/** The ranges of a peer that have an address in them, the longest one of each list. */
function longest(ranges: readonly string[], address: string): number {
  const parsed = parseAddress(address)
  if (parsed === null) throw new Error(address)
  const lengths = ranges.flatMap((text) => {
    const prefix = parsePrefix(text)
    return prefix !== null && contains(prefix, hostPrefix(parsed)) ? [prefix.length] : []
  })
  return Math.max(-1, ...lengths)
}

/** As the device does it: the longest prefix wins; a stand-in needs that very prefix. */
function ownerOf({ peers }: Desired, address: string): { key: string; length: number } | null {
  let best: { key: string; length: number } | null = null
  for (const { publicKey: key, allowedIps } of peers.values()) {
    const length = longest(allowedIps, address)
    if (length > (best?.length ?? -1)) best = { key, length }
  }
  return best
}

function takes(desired: Desired, from: MeshNode, source: string): boolean {
  const owner = ownerOf(desired, source)
  const own = longest(desired.ownRanges, source)
  if (owner?.key === from.key && owner.length > own) return true
  const standby = desired.peers.get(from.key)?.standbyIps ?? []
  const length = Math.max(own, owner?.length ?? -1)
  return length >= 0 && longest(standby, source) === length
}

/** The nodes that a packet passes; the last one keeps it. A text says where it is lost. */
function path(
  mesh: Mesh,
  from: MeshNode,
  [source, destination]: readonly [string, string],
): MeshNode[] | string {
  const passed = [from]
  let sender: MeshNode | null = null
  for (let at = from; passed.length <= 5;) {
    const desired = mesh.get(at)
    if (desired === undefined) return 'nowhere'
    if (sender !== null && !takes(desired, sender, source)) {
      return `${at.name} does not take ${source} of ${sender.name}`
    }
    const isOwn = at.addresses.includes(destination)
    if (isOwn || longest(at.advertise, destination) >= 0) return passed
    const owner = ownerOf(desired, destination)
    const next = [...mesh.keys()].find(({ key }) => key === owner?.key)
    if (next === undefined || next === sender) return `${at.name} has no way to ${destination}`
    if (sender !== null) {
      const inside = [sender, next].some(({ key }) => desired.peers.get(key)?.isInside === true)
      if (!desired.forwards || !inside) return `${at.name} does not forward`
    }
    sender = at
    at = next
    passed.push(at)
  }
  return 'it goes round'
}

const names = (found: MeshNode[] | string): string =>
  typeof found === 'string' ? found : found.map(({ name }) => name).join(' ')

function leader(name: string, number: number, more: Partial<MeshNode> = {}): MeshNode {
  return inMesh(name, number, { location: name.slice(0, 1), isLeader: true, ...more })
}
const inner = (name: string, number: number, more: Partial<MeshNode> = {}): MeshNode =>
  inMesh(name, number, { location: name.slice(0, 1), ...more })

const twoSites = [
  leader('a1', 1),
  leader('a2', 2),
  inner('a3', 3),
  inner('a4', 4),
  leader('b1', 5),
  leader('b2', 6),
  inner('b3', 7, { advertise: ['10.7.0.0/16'] }),
  inMesh('free', 8),
]

function named(name: string): MeshNode {
  const node = twoSites.find((one) => one.name === name)
  if (node === undefined) throw new Error(name)
  return node
}

test('within a location nodes reach each other, beyond it through one leader of each side', () => {
  const mesh = meshOf(twoSites)
  const walk = (from: string, to: string): string =>
    names(path(mesh, named(from), [named(from).addresses[0] ?? '', named(to).addresses[0] ?? '']))
  expect(walk('a3', 'a4')).toBe('a3 a4')
  expect(walk('a3', 'b3')).toMatch(/^a3 a[12] b[12] b3$/)
  expect(walk('b3', 'a3')).toBe(walk('a3', 'b3').split(' ').toReversed().join(' '))
  expect(walk('a1', 'b2')).toBe('a1 b2')
  expect(walk('free', 'b3')).toMatch(/^free b[12] b3$/)
  expect(walk('a1', 'free')).toBe('a1 free')
})

test('a node that leads nobody has the peers of its location, and one way out', () => {
  const { peers, routes, forwards } = meshOf(twoSites).get(named('a3')) ?? {}
  const known = twoSites.filter(({ key }) => peers?.has(key)).map(({ name }) => name)
  expect(known.filter((name) => !name.startsWith('a'))).toEqual([])
  expect(routes).toEqual([networks.ipv4, networks.ipv6, '10.7.0.0/16'])
  expect(forwards).toBe(false)
  const out = ['10.96.0.0/16', 'fd00::/64', '10.7.0.0/16']
  const leaders = [named('a1'), named('a2')].map(({ key }) => peers?.get(key))
  const shares = leaders.map((peer) => [peer?.allowedIps.slice(2), peer?.standbyIps])
  expect(shares).toEqual(
    expect.arrayContaining([
      [out, []],
      [[], out],
    ]),
  )
  expect(leaders.map((peer) => peer?.isWatched)).toEqual([true, true])
})

test('a leader keeps the ranges behind it, and carries for its own location alone', () => {
  const nodes = [...twoSites, leader('b9', 9, { advertise: ['10.9.0.0/16'] })]
  const desired = meshOf(nodes).get(nodes.at(-1) ?? named('b1'))
  expect([desired?.forwards, desired?.ownRanges]).toEqual([true, ['10.9.0.0/16']])
  const inside = [...(desired?.peers.values() ?? [])].filter(({ isInside }) => isInside === true)
  expect(inside.map(({ publicKey }) => publicKey)).toEqual(
    ['b1', 'b2', 'b3'].map((name) => named(name).key),
  )
})

test('nodes are spread over both leaders, and all go to the other one when one is away', () => {
  const crowd = Array.from({ length: 40 }, (_, at) => inner(`a${at + 10}`, at + 10))
  const ways = (isAway: boolean): string[] => {
    const nodes = [leader('a1', 1, { isAway }), leader('a2', 2), ...crowd, named('free')]
    const mesh = meshOf(nodes)
    return crowd.map((node) =>
      names(path(mesh, node, [node.addresses[0] ?? '', '10.96.0.8'])).replace(node.name, ''),
    )
  }
  const [before, after] = [ways(false), ways(true)].map((all) => Map.groupBy(all, (way) => way))
  expect(before?.get(' a1 free')?.length).toBeGreaterThan(8)
  expect(before?.get(' a2 free')?.length).toBeGreaterThan(8)
  expect([...(after?.keys() ?? [])]).toEqual([' a2 free'])
})

test('a location without leaders is none', () => {
  const nodes = [inner('a1', 1), inner('a2', 2), inner('b1', 3)]
  const { peers, forwards } = meshOf(nodes).get(nodes[0] ?? named('a1')) ?? {}
  expect([peers?.size, forwards]).toEqual([2, false])
})

test('a relay elsewhere is a peer without addresses, kept awake', () => {
  const ways = { isRelay: true, candidates: [], isGuess: false }
  const nodes = twoSites.map((node) => ({
    ...node,
    ways: { ...ways, isRelay: node.name === 'free' },
  }))
  const { peers } = meshOf(nodes).get(nodes[2] ?? named('a3')) ?? {}
  expect(peers?.get(named('free').key)).toMatchObject({ allowedIps: [], keepaliveS: 25 })
  expect(peers?.get(named('a4').key)?.relays).toEqual([named('free').key])
  const serving = meshOf(nodes).get(nodes.at(-1) ?? named('free'))
  expect(serving?.peers.get(named('a3').key)?.allowedIps).toEqual([])
})

test('a default route leads to a node that is reached without leaders', () => {
  const exit = inner('b3', 7, { advertise: ['0.0.0.0/0'] })
  const nodes = [...twoSites.filter(({ name }) => name !== 'b3'), exit]
  const asked = { networks, outside: [], isBehindNat: false, defaultRoute: 'b3' }
  const inside = topology(nodes, { ...asked, self: named('b1').id })
  expect(inside.peers.get(exit.key)?.allowedIps).toContain('0.0.0.0/0')
  const outside = topology(nodes, { ...asked, self: named('a3').id })
  expect(outside.conflicts).toEqual([
    {
      node: 'b3',
      prefix: '0.0.0.0/0',
      reason: 'it is in another location: leaders carry the packets of the mesh alone',
    },
  ])
})

const place = fc.constantFrom(undefined, 'a', 'b', 'c')
const anyNodes = fc
  .array(fc.record({ location: place, isLeader: fc.boolean(), isAway: fc.boolean() }), {
    minLength: 2,
    maxLength: 9,
  })
  .map((all) =>
    all.map(({ location, isLeader, isAway }, at) => {
      const located = location === undefined ? {} : { location, isLeader }
      return inMesh(`n${at + 1}`, at + 1, { ...located, isAway })
    }),
  )
const doubts = fc.array(fc.nat({ max: 511 }), { minLength: 9, maxLength: 9 })

test('whoever takes whom for silent, every node reaches every other one', () => {
  fc.assert(
    fc.property(anyNodes, doubts, (nodes, bits) => {
      const mesh = meshOf(nodes, (node) => {
        const mask = bits[nodes.indexOf(node)] ?? 0
        return new Set(nodes.filter((_, at) => (mask >> at) & 1).map(({ id }) => id))
      })
      for (const from of nodes) {
        for (const to of nodes.filter((node) => node !== from)) {
          for (const family of [0, 1]) {
            const ends = [from.addresses[family] ?? '', to.addresses[family] ?? ''] as const
            const found = path(mesh, from, ends)
            expect(typeof found === 'string' ? found : found.at(-1)).toBe(to)
          }
        }
      }
    }),
    { numRuns: 150 },
  )
})

test('a range that several offer is reached at one that the coordinator sees, and answers', () => {
  const range = '10.50.0.0/16'
  fc.assert(
    fc.property(anyNodes, fc.nat({ max: 511 }), (all, mask) => {
      const nodes = all.map((node, at) =>
        (mask >> at) & 1 ? { ...node, advertise: [range] } : node,
      )
      const offering = nodes.filter(({ advertise }) => advertise.length > 0)
      const mesh = meshOf(nodes)
      for (const from of nodes.filter((node) => offering.length > 0 && !offering.includes(node))) {
        const own = from.addresses[0] ?? ''
        const found = path(mesh, from, [own, '10.50.1.1'])
        const wanted = offering.find(({ isAway }) => isAway !== true) ?? offering[0]
        const last = typeof found === 'string' ? found : found.at(-1)
        // A leader on the way that offers the range keeps what it gets.
        const isOnWay = typeof last === 'object' && last.isLeader === true
        if (isOnWay) expect(offering).toContain(last)
        else expect(last).toBe(wanted)
        for (const gateway of offering) {
          const back = path(mesh, gateway, ['10.50.1.1', own])
          expect(typeof back === 'string' ? back : back.at(-1)?.name).toBe(from.name)
        }
      }
    }),
    { numRuns: 150 },
  )
})
