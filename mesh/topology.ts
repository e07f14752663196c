/**
 * From the nodes of the mesh to what the device of one of them should have: its addresses, its
 * peers with their allowed IPs, its routes; and which ranges are left out, and why. Pure: every
 * node comes to the same answer about who holds a range.
 */
import { type MeshNetworks, parseEndpoint } from './entry.ts'
import { meshLimits } from './limits.ts'
import {
  type Address,
  contains,
  hostPrefix,
  overlaps,
  parseAddress,
  parsePrefix,
  type Prefix,
  prefixText,
} from './prefix.ts'
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
}

/** One peer of the device; the same words as WireGuard's. */
export interface DesiredPeer {
  readonly publicKey: string
  /** Heard as well, until it is named no more. */
  readonly previousKey?: string
  readonly allowedIps: readonly string[]
  readonly endpoint: string | null
  /** Zero: none. */
  readonly keepaliveS: number
  /** Public keys of the peers through which it is reached while it is not directly. */
  readonly relays: readonly string[]
  /** Where it might be reached directly, beside its endpoint. */
  readonly candidates: readonly string[]
}

/** A range of a node that is not used. */
export interface Conflict {
  readonly node: string
  readonly prefix: string
  readonly reason: string
}

/** What a device should have. */
export interface Desired {
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
  /** By public key. */
  readonly peers: ReadonlyMap<string, DesiredPeer>
  readonly conflicts: readonly Conflict[]
}

/** What the answer depends on beside the nodes. */
export interface Place {
  /** The id of the node that asks. */
  readonly self: string
  readonly networks: MeshNetworks
  /** Addresses that must stay outside the tunnel beside the peers' own: the coordinator's. */
  readonly outside: readonly string[]
  /** Others cannot reach this node unless it keeps its paths open. */
  readonly isBehindNat: boolean
  /** The name of the node through which everything else goes; none: as the machine has it. */
  readonly defaultRoute?: string | null
  /** Its device can reach others through relays. */
  readonly knowsRelays?: boolean
}

/** Shorter than the 30 s after which a NAT may forget a flow of UDP (RFC 4787 §4.3: 2 minutes). */
const keepaliveS = 25
/** For so long nobody might find a node that nobody spoke with when its NAT got another address. */
const relayKeepaliveS = 5

/** What the node `place.self` should have. */
export function topology(nodes: readonly MeshNode[], place: Place): Desired {
  const ordered = nodes.toSorted(
    (one, other) => one.since - other.since || (one.id < other.id ? -1 : 1),
  )
  const claims = new Claims(ordered, place)
  const accepted = new Map(ordered.map((node) => [node.id, claims.of(node)]))
  const others = ordered.filter(({ id }) => id !== place.self)
  claims.expectDefault()
  const advertised = others.flatMap(({ id }) => accepted.get(id)?.advertised ?? [])
  const networks = [place.networks.ipv4, place.networks.ipv6]
  const keys = new Set(ordered.map(({ key }) => key))
  const relays = new Relays(place.knowsRelays === true ? ordered : [])
  const waysTo = (node: MeshNode): Pick<DesiredPeer, 'endpoint' | 'relays' | 'candidates'> => {
    const { endpoint, ways } = node
    const through = relays.of(node).filter(({ id }) => id !== place.self)
    if (ways === undefined || through.length === 0) return { endpoint, relays: [], candidates: [] }
    const { isGuess, candidates: known } = ways
    const guess = isGuess && endpoint !== null ? [endpoint] : []
    const candidates = [...known, ...guess].filter((one) => isGuess || one !== endpoint)
    const names = through.map(({ key }) => key)
    return { endpoint: isGuess ? null : endpoint, relays: names, candidates }
  }
  const self = ordered.find(({ id }) => id === place.self)
  const ownRelays = self === undefined ? [] : relays.of(self)
  const isSmall = ownRelays.length === 0 || ordered.length <= meshLimits.keepaliveNodesMax
  const keepaliveTo = (node: MeshNode): number => {
    if (!place.isBehindNat) return 0
    if (ownRelays.includes(node)) return relayKeepaliveS
    return isSmall ? keepaliveS : 0
  }
  const peers = others.flatMap((node): DesiredPeer[] => {
    const { own = [], advertised = [] } = accepted.get(node.id) ?? {}
    // Without an address of its own it is nobody: another one claimed all it has.
    if (own.length === 0) return []
    return [
      {
        publicKey: node.key,
        ...previousKeyOf(node, keys),
        allowedIps: [...own, ...advertised],
        ...waysTo(node),
        keepaliveS: keepaliveTo(node),
      },
    ]
  })
  return {
    addresses: accepted.get(place.self)?.own ?? [],
    routes: [...networks, ...advertised],
    peers: new Map(peers.map((peer) => [peer.publicKey, peer])),
    conflicts: claims.conflicts,
  }
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

/** Who holds which range: the first who claimed it. A range within another one is none of its. */
class Claims {
  readonly conflicts: Conflict[] = []
  readonly #holders = new Map<string, string>()
  readonly #networks: readonly Prefix[]
  readonly #outside: Outside
  readonly #defaultRoute: string | null
  #hasDefault = false

  constructor(nodes: readonly MeshNode[], { networks, outside, defaultRoute = null }: Place) {
    this.#defaultRoute = defaultRoute
    this.#networks = [networks.ipv4, networks.ipv6].flatMap((text) => parsePrefix(text) ?? [])
    const endpoints = nodes.flatMap(({ name, endpoint }) => {
      const address = endpoint === null ? undefined : parseEndpoint(endpoint)?.address
      return address === undefined ? [] : [{ address, what: `the endpoint of ${name}` }]
    })
    const guarded = outside.map((address) => ({ address, what: 'the coordinator' }))
    this.#outside = new Outside([...endpoints, ...guarded])
  }

  /** What this node may have; the rest becomes conflicts. */
  of({ name, addresses, advertise }: MeshNode): { own: string[]; advertised: string[] } {
    const own = addresses.flatMap((text) => {
      const parsed = parseAddress(text)
      if (parsed === null) return []
      return this.#claim(name, hostPrefix(parsed))
    })
    const advertised = advertise.flatMap((text) => {
      const prefix = parsePrefix(text)
      if (prefix === null) return this.#refuse(name, text, 'it is no CIDR')
      if (prefix.length === 0) return this.#default(name, prefix)
      const reason = this.#reasonAgainst(prefix)
      return reason === null ? this.#claim(name, prefix) : this.#refuse(name, text, reason)
    })
    return { own, advertised }
  }

  /** Whoever was to be the way to everything else, and offers nothing of the kind. */
  expectDefault(): void {
    if (this.#defaultRoute === null || this.#hasDefault) return
    this.#refuse(this.#defaultRoute, '0.0.0.0/0', 'no node of this name offers a default route')
  }

  /** Each node chooses for itself; to offer one takes nothing from anybody. */
  #default(node: string, prefix: Prefix): string[] {
    if (node !== this.#defaultRoute) return []
    this.#hasDefault = true
    return this.#claim(node, prefix)
  }

  #claim(node: string, prefix: Prefix): string[] {
    const text = prefixText(prefix)
    const holder = this.#holders.get(text)
    if (holder !== undefined) return this.#refuse(node, text, `${holder} claimed it before`)
    this.#holders.set(text, node)
    return [text]
  }

  #refuse(node: string, prefix: string, reason: string): never[] {
    this.conflicts.push({ node, prefix, reason })
    return []
  }

  #reasonAgainst(prefix: Prefix): string | null {
    const own = this.#networks.find((network) => overlaps(network, prefix))
    if (own !== undefined) return `it overlaps the addresses of the mesh, ${prefixText(own)}`
    // The tunnel's own packets would go into the tunnel.
    const outside = this.#outside.within(prefix)
    return outside === null ? null : `${outside} is in it`
  }
}

/** Addresses that no range of the mesh may have in it, in their order: as many as nodes. */
class Outside {
  readonly #addresses: readonly { readonly address: Address; readonly what: string }[]

  constructor(texts: readonly { readonly address: string; readonly what: string }[]) {
    this.#addresses = texts
      .flatMap(({ address, what }) => {
        const parsed = parseAddress(address)
        return parsed === null ? [] : [{ address: parsed, what }]
      })
      .toSorted((one, other) => order(one.address, other.address))
  }

  /** One of those in the range; null when there is none. */
  within(prefix: Prefix): string | null {
    let [from, to] = [0, this.#addresses.length]
    while (from < to) {
      const middle = (from + to) >> 1
      const { address = prefix } = this.#addresses[middle] ?? {}
      if (isBefore(address, prefix)) from = middle + 1
      else to = middle
    }
    const found = this.#addresses[from]
    return found !== undefined && contains(prefix, hostPrefix(found.address)) ? found.what : null
  }
}

function isBefore(one: Address, other: Address): boolean {
  return one.family === other.family ? one.value < other.value : one.family < other.family
}

function order(one: Address, other: Address): number {
  return Number(isBefore(other, one)) - Number(isBefore(one, other))
}
