/** What a node tells of one peer: where its packets go, and why they do not go directly. */
import type { PeerStats } from './device.ts'
import type { Locations } from './locations.ts'
import type { MeshStatus, PeerStatus } from './status.ts'
import type { DesiredPeer, MeshNode } from './topology.ts'

/** A session without a handshake for this long is none (WireGuard's REJECT_AFTER_TIME). */
const sessionMs = 180_000

/** What the device knows of a peer; undefined: it has no such peer. */
type Stats = PeerStats | undefined

/** `nameOf`: the name of the node with a public key. */
export function peerStatus(
  node: MeshNode,
  { stats, desired }: { readonly stats: Stats; readonly desired: DesiredPeer | undefined },
  nameOf: (key: string) => string | undefined,
): PeerStatus {
  const { lastHandshakeMs = null, receivedBytes = 0, sentBytes = 0 } = stats ?? {}
  const endpoint = stats?.endpoint ?? desired?.endpoint ?? null
  const path = pathOf(stats)
  const relay = path === 'relay' ? (nameOf(stats?.relay ?? '') ?? null) : null
  return {
    name: node.name,
    addresses: [...node.addresses],
    path,
    relay,
    leader: null,
    endpoint,
    lastHandshakeMs,
    receivedBytes,
    sentBytes,
    whyNotDirect: whyNotDirect(path, { endpoint, stats }),
  }
}

/** What is known of the way to a leader, and of the leaders of the node behind it. */
interface KnownLeader {
  readonly stats: Stats
  readonly desired: DesiredPeer | undefined
  /** The leaders of that node's location, where none of them is there. */
  readonly missing: readonly MeshNode[]
}

/** A node that is reached through a leader of its location, or of this one: of it alone nothing is
 * counted, and the handshake is that leader's. */
export function peerBehind(
  { name, addresses, location }: MeshNode,
  leader: MeshNode,
  { missing, ...known }: KnownLeader,
): PeerStatus {
  const where = location === undefined ? 'it is in no location' : `it is in location ${location}`
  const gone = missing.map((one) => one.name).join(' and ')
  const loss = gone === '' ? '' : `, whose leaders are away (${gone})`
  const through = `${where}${loss}: reached through ${leader.name}`
  const { path, lastHandshakeMs, whyNotDirect: why } = peerStatus(leader, known, () => undefined)
  const isReached = path !== 'none'
  return {
    name,
    addresses: [...addresses],
    path: isReached ? 'leader' : 'none',
    relay: null,
    leader: leader.name,
    endpoint: null,
    lastHandshakeMs,
    receivedBytes: 0,
    sentBytes: 0,
    whyNotDirect: isReached ? through : `${through}; ${why}`,
  }
}

/** Where this node stands; null: nowhere in particular. */
export function locationStatus(
  self: MeshNode | undefined,
  locations: Locations,
): MeshStatus['location'] {
  const { location: name, isLeader = false } = self ?? {}
  if (name === undefined) return null
  const all = locations.leadersOf(name)
  const there = all.filter(({ isAway }) => isAway !== true)
  const leaders = (there.length === 0 ? all : there).map((leader) => leader.name).toSorted()
  return { name, leaders, isLeader, isAway: locations.missingOf(name).length > 0 }
}

/** Whether nothing is known of the way to a peer because nobody ever took it. */
export function isUntried({
  endpoint,
  lastHandshakeMs,
  sentBytes,
}: Pick<PeerStatus, 'endpoint' | 'lastHandshakeMs' | 'sentBytes'>): boolean {
  return endpoint !== null && lastHandshakeMs === null && sentBytes === 0
}

/** Where the packets to a peer go. */
export function pathOf(stats: Stats): Exclude<PeerStatus['path'], 'leader'> {
  if (stats === undefined) return 'none'
  const { lastHandshakeMs, path } = stats
  return lastHandshakeMs !== null && lastHandshakeMs < sessionMs ? path : 'none'
}

function whyNotDirect(
  path: PeerStatus['path'],
  { endpoint, stats }: { readonly endpoint: string | null; readonly stats: Stats },
): string | null {
  if (path === 'direct') return null
  if (path === 'relay') return reasons[stats?.whyNotDirect ?? 'unproven'](endpoint)
  if (endpoint === null) return 'nobody knows where it is: it has to speak first'
  // Of a peer that was never in use the device says nothing.
  const { lastHandshakeMs = null, sentBytes = 0 } = stats ?? {}
  if (isUntried({ endpoint, lastHandshakeMs, sentBytes })) {
    return `nothing was sent to ${endpoint} yet, and nothing came`
  }
  const since = Math.round(sessionMs / 1000)
  return lastHandshakeMs === null
    ? `${endpoint} has not answered yet: is nothing to be sent, or is UDP closed on the way?`
    : `no handshake for more than ${since} s: nothing was sent, or ${endpoint} is out of reach`
}

const reasons: Readonly<
  Record<NonNullable<PeerStats['whyNotDirect']>, (endpoint: string | null) => string>
> = {
  'no endpoint': () => 'it answers at none of its addresses: a NAT or a firewall is between',
  unproven: (endpoint) =>
    `${endpoint} has not answered a probe: a NAT or a firewall may be between`,
  silent: (endpoint) => `nothing comes back from ${endpoint} any more`,
}
