/**
 * From the nodes of the mesh to what the device of one of them should have: its addresses, its
 * peers with their allowed IPs, its routes; and which ranges are left out, and why. Pure: every
 * node comes to the same answer about who holds a range.
 */
import { Claims, type Conflict, type Ground, inOrder } from './claims.ts'
import { exact } from './exact.ts'
import { meshLimits } from './limits.ts'
import { Locations } from './locations.ts'
import { Relays, type Ways } from './relays.ts'

/** One node, as far as it matters here. */
export interface MeshNode {
  readonly id: string
  readonly name: string
  readonly key: string
  /** The key before it, while it changes. */
  readonly previousKey?: string
  readonly addresses: readonly string[]
  readonly advertise: readonly string[]
  readonly endpoint: string | null
  readonly since: number
  /** Absent: its device knows WireGuard and nothing else. */
  readonly ways?: Ways
  /** Where it stands; nodes of one location reach others through its leaders. */
  readonly location?: string
  /** Through it others of its location are reached from elsewhere. */
  readonly isLeader?: boolean
  /** The coordinator does not see it; said of those only for whom others stand in. */
  readonly isAway?: boolean
}

/** One peer of the device; the same words as WireGuard's. */
export interface DesiredPeer {
  readonly publicKey: string
  /** Heard as well, until it is named no more. */
  readonly previousKey?: string
  readonly allowedIps: readonly string[]
  /** Packets from there are taken of this peer, too, though those to them go to another one. */
  readonly standbyIps: readonly string[]
  /** Another peer stands in for it when it is silent. */
  readonly isWatched?: boolean
  /** Of this node's location, where this one is a leader of it. */
  readonly isInside?: boolean
  readonly endpoint: string | null
  /** Zero: none. */
  readonly keepaliveS: number
  /** Public keys of the peers through which it is reached while it is not directly. */
  readonly relays: readonly string[]
  /** Where it might be reached directly, beside its endpoint. */
  readonly candidates: readonly string[]
  /** It takes packets of one key of this node, not of two while that changes. */
  readonly hearsOneKey?: boolean
}

/** What a device should have. */
export interface Desired {
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
  /** By public key. */
  readonly peers: ReadonlyMap<string, DesiredPeer>
  /** It carries packets from one peer to another: a leader does. */
  readonly forwards: boolean
  /** What stays here beside its addresses: the ranges behind this node. */
  readonly ownRanges: readonly string[]
  readonly conflicts: readonly Conflict[]
}

/** What the answer depends on beside the nodes. */
export interface Place extends Ground {
  /** The id of the node that asks. */
  readonly self: string
  /** Others cannot reach this node unless it keeps its paths open. */
  readonly isBehindNat: boolean
  /** Its device can reach others through relays. */
  readonly knowsRelays?: boolean
  /** Ids of nodes that do not answer; others stand in for them where there are some. */
  readonly silent?: ReadonlySet<string>
}

/** Shorter than the 30 s after which a NAT may forget a flow of UDP (RFC 4787 §4.3: 2 minutes). */
const keepaliveS = 25
/** For so long nobody might find a node that nobody spoke with when its NAT got another address. */
const relayKeepaliveS = 5

const nobody: ReadonlySet<string> = new Set()

/** What the node `place.self` should have. */
export function topology(nodes: readonly MeshNode[], place: Place): Desired {
  const ordered = inOrder(nodes)
  const claims = new Claims(ordered, place)
  const self = ordered.find(({ id }) => id === place.self)
  const others = ordered.filter((node) => node !== self)
  const locations = new Locations(ordered, { self, silent: place.silent ?? nobody })
  const plan = new Plan({ place, claims, locations, self, others })
  const relays = new Relays(place.knowsRelays === true ? ordered : [])
  const relaysFor = (node: MeshNode): readonly MeshNode[] =>
    relays.of(node).filter((relay) => relay !== self)
  const ownRelays = self === undefined ? [] : relays.of(self)
  if (locations.isAny) {
    const carrying = Array.from(plan.given.keys())
    for (const node of carrying) for (const relay of relaysFor(node)) plan.know(relay)
    for (const relay of ownRelays) plan.know(relay)
    // Whoever sends through a relay is known to it.
    const isServing = place.knowsRelays === true && self?.ways?.isRelay === true
    for (const node of isServing ? others : []) if (node.ways !== undefined) plan.know(node)
  }
  const isSmall = ownRelays.length === 0 || ordered.length <= meshLimits.keepaliveNodesMax
  const keepaliveTo = (node: MeshNode): number => {
    const isOwnRelay = ownRelays.includes(node)
    if (place.isBehindNat) return isOwnRelay ? relayKeepaliveS : isSmall ? keepaliveS : 0
    // No packet goes there by itself, and through it others come.
    return isOwnRelay && plan.given.get(node)?.allowed.length === 0 ? keepaliveS : 0
  }
  const keys = new Set(ordered.map(({ key }) => key))
  const peers = new Map<string, DesiredPeer>()
  for (const node of others) {
    const given = plan.given.get(node)
    if (given === undefined) continue
    const { allowed, standby, isWatched } = given
    peers.set(node.key, {
      publicKey: node.key,
      ...previousKeyOf(node, keys),
      allowedIps: exact(allowed),
      standbyIps: standby === none ? none : exact(standby),
      ...(isWatched ? { isWatched: true } : {}),
      ...(locations.isInside(node) ? { isInside: true } : {}),
      ...waysTo(node, relaysFor(node)),
      keepaliveS: keepaliveTo(node),
      ...(place.knowsRelays === true && node.ways === undefined ? { hearsOneKey: true } : {}),
    })
  }
  return {
    addresses: self === undefined ? [] : claims.ownOf(self),
    routes: [place.networks.ipv4, place.networks.ipv6, ...plan.ranges],
    peers,
    forwards: locations.isLeading,
    ownRanges: plan.ownRanges,
    conflicts: claims.conflicts,
  }
}

function waysTo(
  { endpoint, ways }: MeshNode,
  through: readonly MeshNode[],
): Pick<DesiredPeer, 'endpoint' | 'relays' | 'candidates'> {
  if (ways === undefined || through.length === 0) {
    return { endpoint, relays: none, candidates: none }
  }
  const { isGuess, candidates: known } = ways
  const guess = isGuess && endpoint !== null ? [endpoint] : []
  const all = [...known, ...guess].filter((one) => isGuess || one !== endpoint)
  const names = through.map(({ key }) => key)
  return { endpoint: isGuess ? null : endpoint, relays: names, candidates: exact(all) }
}

/** A key that a node has now is nobody's former one, and a former one is one node's. */
function previousKeyOf(
  { previousKey }: MeshNode,
  keys: Set<string>,
): Pick<DesiredPeer, 'previousKey'> {
  if (previousKey === undefined || keys.has(previousKey)) return {}
  keys.add(previousKey)
  return { previousKey }
}

/** What a peer carries. */
interface Given {
  readonly allowed: string[]
  standby: string[]
  isWatched: boolean
}

/** Of thousands of peers few stand in for another one. */
const none: string[] = []

interface PlanParts {
  readonly place: Place
  readonly claims: Claims
  readonly locations: Locations
  readonly self: MeshNode | undefined
  readonly others: readonly MeshNode[]
}

/** Which peer carries the packets of which range. */
class Plan {
  /** Nodes that are no peers are not in it. */
  readonly given = new Map<MeshNode, Given>()
  /** Those of others. */
  readonly ranges: string[] = []
  readonly ownRanges: string[] = []

  constructor({ place, claims, locations, self, others }: PlanParts) {
    const { networks } = place
    for (const node of others) {
      const own = claims.ownOf(node)
      // Without an address of its own it is nobody: another one claimed all it has.
      if (own.length === 0) continue
      if (locations.isNear(node)) this.know(node).allowed.push(...own)
      else if (locations.out.length === 0) this.#give(own, locations.waysTo(node))
    }
    if (locations.out.length > 0) this.#give([networks.ipv4, networks.ipv6], locations.out)
    for (const [range, all] of claims.ranges) {
      const claimants = all.filter((node) => node !== self && claims.ownOf(node).length > 0)
      if (self !== undefined && all.includes(self)) {
        // What others offer as well may come through them, and stays here.
        this.ownRanges.push(range)
        this.#standBy(range, standIns(claimants, locations))
        continue
      }
      const [first] = claimants
      if (first === undefined) continue
      if (isDefault(range) && !locations.isNear(first)) {
        const reason = 'it is in another location: leaders carry the packets of the mesh alone'
        claims.refuse(first.name, range, reason)
        continue
      }
      this.ranges.push(range)
      this.#give([range], standIns(claimants, locations))
    }
  }

  know(node: MeshNode): Given {
    let given = this.given.get(node)
    if (given === undefined) {
      given = { allowed: [], standby: none, isWatched: false }
      this.given.set(node, given)
    }
    return given
  }

  #give(ranges: readonly string[], [first, ...others]: readonly MeshNode[]): void {
    if (first === undefined) return
    const given = this.know(first)
    given.allowed.push(...ranges)
    if (others.length === 0) return
    given.isWatched = true
    // One that is silent is watched until it is back.
    for (const other of others) this.know(other).isWatched = true
    for (const range of ranges) this.#standBy(range, others)
  }

  #standBy(range: string, nodes: readonly MeshNode[]): void {
    for (const node of nodes) {
      const given = this.know(node)
      if (given.standby === none) given.standby = []
      given.standby.push(range)
    }
  }
}

/** Who carries the packets of a range, and who does it in their place. */
function standIns(claimants: readonly MeshNode[], locations: Locations): readonly MeshNode[] {
  const [first] = claimants
  if (first === undefined) return []
  if (claimants.length === 1) return locations.waysTo(first)
  const ordered = locations.byDoubt(claimants)
  return [...new Set(ordered.flatMap((node) => locations.waysTo(node)))]
}

function isDefault(range: string): boolean {
  return range.endsWith('/0')
}
