/**
 * From the nodes of the mesh to what the device of one of them should have: its addresses, its
 * peers with their allowed IPs, its routes; and which ranges are left out, and why. Pure: every
 * node comes to the same answer about who holds a range.
 */
import { type MeshNetworks, parseEndpoint } from './entry.ts'
import { exact } from './exact.ts'
import { meshLimits } from './limits.ts'
import {
  type Address,
  bitsOf,
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
  /** It takes packets of one key of this node, not of two while that changes. */
  readonly hearsOneKey?: boolean
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

/** What the texts of a node come to. */
interface Parsed {
  /** Its addresses, each as the range that it is. */
  readonly own: readonly string[]
  readonly ranges: readonly {
    /** As the node wrote it, and as everybody writes it. */
    readonly said: string
    readonly text: string
    readonly prefix: Prefix | null
  }[]
  readonly endpoint: Address | null
}

/** In a large mesh all nodes but one are the same objects as they were before a change. */
const parsedOf = new WeakMap<MeshNode, Parsed>()

function parsed(node: MeshNode): Parsed {
  const known = parsedOf.get(node)
  if (known !== undefined) return known
  const fresh = parse(node)
  parsedOf.set(node, fresh)
  return fresh
}

function parse({ addresses, advertise, endpoint }: MeshNode): Parsed {
  const place = endpoint === null ? undefined : parseEndpoint(endpoint)?.address
  return {
    own: exact(
      addresses.flatMap((text) => {
        const address = parseAddress(text)
        return address === null ? [] : [prefixText(hostPrefix(address))]
      }),
    ),
    ranges: advertise.map((said) => {
      const prefix = parsePrefix(said)
      const text = prefix === null ? said : prefixText(prefix)
      return { said, text: text === said ? said : text, prefix } // one text, mostly
    }),
    endpoint: place === undefined ? null : parseAddress(place),
  }
}

const none: readonly string[] = []

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
    if (ways === undefined || through.length === 0) {
      return { endpoint, relays: none, candidates: none }
    }
    const { isGuess, candidates: known } = ways
    const guess = isGuess && endpoint !== null ? [endpoint] : []
    const all = [...known, ...guess].filter((one) => isGuess || one !== endpoint)
    const names = through.map(({ key }) => key)
    return { endpoint: isGuess ? null : endpoint, relays: names, candidates: exact(all) }
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
        allowedIps: exact([...own, ...advertised]),
        ...waysTo(node),
        keepaliveS: keepaliveTo(node),
        ...(place.knowsRelays === true && node.ways === undefined ? { hearsOneKey: true } : {}),
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
    const endpoints = nodes.flatMap((node) => {
      const { endpoint: address } = parsed(node)
      return address === null ? [] : [{ address, node: node.name }]
    })
    const guarded = outside.flatMap((text) => {
      const address = parseAddress(text)
      return address === null ? [] : [{ address, node: null }]
    })
    this.#outside = new Outside([...endpoints, ...guarded])
  }

  /** What this node may have; the rest becomes conflicts. */
  of(node: MeshNode): { own: readonly string[]; advertised: readonly string[] } {
    const { name } = node
    const { own: hosts, ranges } = parsed(node)
    const own = hosts.flatMap((text) => this.#claim(name, text))
    const advertised = ranges.flatMap(({ said, text, prefix }) => {
      if (prefix === null) return this.#refuse(name, said, 'it is no CIDR')
      if (prefix.length === 0) return this.#default(name, text)
      const reason = this.#reasonAgainst(prefix)
      return reason === null ? this.#claim(name, text) : this.#refuse(name, said, reason)
    })
    return { own, advertised }
  }

  /** Whoever was to be the way to everything else, and offers nothing of the kind. */
  expectDefault(): void {
    if (this.#defaultRoute === null || this.#hasDefault) return
    this.#refuse(this.#defaultRoute, '0.0.0.0/0', 'no node of this name offers a default route')
  }

  /** Each node chooses for itself; to offer one takes nothing from anybody. */
  #default(node: string, text: string): string[] {
    if (node !== this.#defaultRoute) return []
    this.#hasDefault = true
    return this.#claim(node, text)
  }

  #claim(node: string, text: string): string[] {
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

interface OutsideAddress {
  readonly address: Address
  /** Whose endpoint it is; null: the coordinator's. */
  readonly node: string | null
}

/** Addresses that no range of the mesh may have in it: as many as nodes. */
class Outside {
  readonly #all: readonly OutsideAddress[]
  /** In their order. Those of IPv4 are sorted as numbers, in a tenth of the time. */
  readonly #v4: Float64Array
  readonly #v6: readonly bigint[]

  constructor(all: readonly OutsideAddress[]) {
    const valuesOf = (wanted: number): bigint[] =>
      all.flatMap(({ address: { family, value } }) => (family === wanted ? [value] : []))
    this.#all = all
    this.#v4 = Float64Array.from(valuesOf(4), Number).sort()
    this.#v6 = valuesOf(6).toSorted((one, other) => Number(one > other) - Number(one < other))
  }

  /** One of those in the range; null when there is none. */
  within(prefix: Prefix): string | null {
    const [first, size] = [prefix.value, 1n << BigInt(bitsOf(prefix.family) - prefix.length)]
    const isIn =
      prefix.family === 4
        ? hasOneFrom(this.#v4, Number(first), Number(first + size))
        : hasOneFrom(this.#v6, first, first + size)
    if (!isIn) return null
    const found = this.#all.find(({ address }) => contains(prefix, hostPrefix(address)))
    return found?.node == null ? 'the coordinator' : `the endpoint of ${found.node}`
  }
}

/** Whether one of these, which are in order, is at least `first` and less than `end`. */
function hasOneFrom<T extends number | bigint>(values: ArrayLike<T>, first: T, end: T): boolean {
  let [from, to] = [0, values.length]
  while (from < to) {
    const middle = (from + to) >> 1
    const value = values[middle]
    if (value !== undefined && value < first) from = middle + 1
    else to = middle
  }
  const found = values[from]
  return found !== undefined && found < end
}
