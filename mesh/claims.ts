/**
 * Who holds which range: whoever claimed it first. Others who offer the very same range stand in
 * while the first one is silent. A range within another one is none of that one's. Pure: every node
 * comes to the same answer, but for who is silent.
 */
import { type MeshNetworks, parseEndpoint } from './entry.ts'
import { exact } from './exact.ts'
import { bitsOf, hostPrefix, ipv4Value, parseAddress, parsePrefix, prefixText } from './prefix.ts'
import type { MeshNode } from './topology.ts'

/** A range of a node that is not used. */
export interface Conflict {
  readonly node: string
  readonly prefix: string
  readonly reason: string
  /** It is used while the one who has it is silent or away. */
  readonly isReserve?: boolean
}

/** What claims depend on beside the nodes. */
export interface Ground {
  readonly networks: MeshNetworks
  /** Addresses that must stay outside the tunnel beside the peers' own: the coordinator's. */
  readonly outside: readonly string[]
  /** The name of the node through which everything else goes; none: as the machine has it. */
  readonly defaultRoute?: string | null
}

/** An address: of IPv4 a number, which is quick, of IPv6 a bigint. */
type Value = number | bigint

/** A range that a node offers. */
interface Range {
  /** As the node wrote it, and as everybody writes it. */
  readonly said: string
  readonly text: string
  /** Its first address and the one after its last; null: it is no CIDR. */
  readonly span: readonly [first: Value, end: Value] | null
}

/**
 * What takes its time is kept with its node: in a large mesh all nodes but one are the same objects
 * as they were before a change. IPv4 is read again instead: in 10,000 nodes it takes 3 MB to keep.
 */
const ownKept = new WeakMap<MeshNode, readonly string[]>()
const rangesKept = new WeakMap<MeshNode, readonly Range[]>()
const endpointsKept = new WeakMap<MeshNode, Value | null>()

/** Its addresses, each as the range that it is. */
function ownOf(node: MeshNode): readonly string[] {
  const known = ownKept.get(node)
  if (known !== undefined) return known
  const texts = node.addresses.flatMap((text) => {
    const address = parseAddress(text)
    return address === null ? [] : [prefixText(hostPrefix(address))]
  })
  const own = exact(texts)
  ownKept.set(node, own)
  return own
}

function rangesOf(node: MeshNode): readonly Range[] {
  const known = rangesKept.get(node)
  if (known !== undefined) return known
  const ranges = node.advertise.map(rangeOf)
  if (ranges.some(({ span }) => typeof span?.[0] === 'bigint')) rangesKept.set(node, ranges)
  return ranges
}

function endpointOf(node: MeshNode): Value | null {
  const { endpoint } = node
  if (endpoint === null) return null
  const quick = ipv4Value(endpoint, endpoint.lastIndexOf(':'))
  if (quick !== null) return quick
  const known = endpointsKept.get(node)
  if (known !== undefined) return known
  const address = valueOf(parseEndpoint(endpoint)?.address ?? '')
  endpointsKept.set(node, address)
  return address
}

function rangeOf(said: string): Range {
  const slash = said.indexOf('/')
  const first = ipv4Value(said, slash)
  const digits = said.slice(slash + 1)
  if (first !== null && /^(?:\d|[12]\d|3[0-2])$/.test(digits)) {
    const size = 2 ** (32 - Number(digits))
    return { said, text: said, span: first % size === 0 ? [first, first + size] : null }
  }
  const prefix = parsePrefix(said)
  if (prefix === null) return { said, text: said, span: null }
  const { family, value, length } = prefix
  const end = value + (1n << BigInt(bitsOf(family) - length))
  const span = family === 4 ? ([Number(value), Number(end)] as const) : ([value, end] as const)
  return { said, text: prefixText(prefix), span }
}

function valueOf(text: string): Value | null {
  return ipv4Value(text) ?? parseAddress(text)?.value ?? null
}

/** Each node once, whoever joined first before the others. */
export function inOrder(nodes: readonly MeshNode[]): readonly MeshNode[] {
  return nodes.toSorted((one, other) => one.since - other.since || (one.id < other.id ? -1 : 1))
}

export class Claims {
  readonly conflicts: Conflict[] = []
  /** The nodes of each range, its first claimant first. */
  readonly ranges = new Map<string, MeshNode[]>()
  readonly #own = new Map<MeshNode, readonly string[]>()
  readonly #holders = new Map<string, string>()
  readonly #networks: readonly Range[]
  readonly #outside: Outside
  readonly #defaultRoute: string | null
  #hasDefault = false

  /** The nodes in their order. */
  constructor(nodes: readonly MeshNode[], { networks, outside, defaultRoute = null }: Ground) {
    this.#defaultRoute = defaultRoute
    this.#networks = [networks.ipv4, networks.ipv6].map(rangeOf)
    const endpoints = nodes.flatMap((node) => {
      const address = endpointOf(node)
      return address === null ? [] : [{ address, node: node.name }]
    })
    const guarded = outside.flatMap((text) => {
      const address = valueOf(text)
      return address === null ? [] : [{ address, node: null }]
    })
    this.#outside = new Outside([...endpoints, ...guarded])
    for (const node of nodes) this.#take(node)
    if (this.#defaultRoute === null || this.#hasDefault) return
    this.refuse(this.#defaultRoute, '0.0.0.0/0', 'no node of this name offers a default route')
  }

  /** The addresses that are this node's and nobody's before it, as ranges. */
  ownOf(node: MeshNode): readonly string[] {
    return this.#own.get(node) ?? []
  }

  refuse(node: string, prefix: string, reason: string): void {
    this.conflicts.push({ node, prefix, reason })
  }

  #take(node: MeshNode): void {
    const { name } = node
    this.#own.set(node, this.#ownAmong(ownOf(node), name))
    for (const { said, text, span } of rangesOf(node)) {
      if (span === null) this.refuse(name, said, 'it is no CIDR')
      else if (text.endsWith('/0')) this.#takeDefault(node, text)
      else {
        const reason = this.#reasonAgainst(span)
        if (reason === null) this.#offer(node, text)
        else this.refuse(name, said, reason)
      }
    }
  }

  #ownAmong(addresses: readonly string[], name: string): readonly string[] {
    return addresses.filter((text) => {
      const holder = this.#holders.get(text)
      if (holder === undefined) this.#holders.set(text, name)
      else this.refuse(name, text, `${holder} claimed it before`)
      return holder === undefined
    })
  }

  #offer(node: MeshNode, text: string): void {
    const others = this.ranges.get(text)
    const holder = others?.[0]
    if (others === undefined || holder === undefined) {
      this.ranges.set(text, [node])
      return
    }
    const reason = `${holder.name} claimed it before`
    this.conflicts.push({ node: node.name, prefix: text, reason, isReserve: true })
    if (!others.includes(node)) others.push(node)
  }

  /** Each node chooses for itself; to offer one takes nothing from anybody. */
  #takeDefault(node: MeshNode, text: string): void {
    if (node.name !== this.#defaultRoute) return
    this.#hasDefault = true
    this.#offer(node, text)
  }

  #reasonAgainst(span: NonNullable<Range['span']>): string | null {
    const [first, end] = span
    const overlaps = ({ span: network }: Range): boolean =>
      network !== null && isOneFamily(network[0], first) && network[0] < end && first < network[1]
    const own = this.#networks.find(overlaps)
    if (own !== undefined) return `it overlaps the addresses of the mesh, ${own.text}`
    // The tunnel's own packets would go into the tunnel.
    const outside = this.#outside.within(first, end)
    return outside === null ? null : `${outside} is in it`
  }
}

/** What each node has of what it claims. */
export interface Holdings {
  readonly own: ReadonlyMap<MeshNode, readonly string[]>
  readonly held: ReadonlyMap<MeshNode, readonly string[]>
  readonly conflicts: readonly Conflict[]
}

/** By node, whoever asks. */
export function claimsOf(nodes: readonly MeshNode[], ground: Ground): Holdings {
  const claims = new Claims(inOrder(nodes), ground)
  const held = new Map<MeshNode, string[]>()
  for (const [range, [first]] of claims.ranges) {
    if (first === undefined) continue
    const ranges = held.get(first)
    if (ranges === undefined) held.set(first, [range])
    else ranges.push(range)
  }
  const own = new Map(nodes.map((node) => [node, claims.ownOf(node)]))
  return { own, held, conflicts: claims.conflicts }
}

interface OutsideAddress {
  readonly address: Value
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
    const values = all.map(({ address }) => address)
    this.#all = all
    this.#v4 = Float64Array.from(values.filter((value) => typeof value === 'number')).sort()
    this.#v6 = values
      .filter((value) => typeof value === 'bigint')
      .toSorted((one, other) => Number(one > other) - Number(one < other))
  }

  /** One of those from `first` on and before `end`; null when there is none. */
  within(first: Value, end: Value): string | null {
    const values: ArrayLike<Value> = typeof first === 'number' ? this.#v4 : this.#v6
    if (!hasOneFrom(values, first, end)) return null
    const isIn = (address: Value): boolean =>
      isOneFamily(address, first) && first <= address && address < end
    const found = this.#all.find(({ address }) => isIn(address))
    return found?.node == null ? 'the coordinator' : `the endpoint of ${found.node}`
  }
}

/** Whether one of these, which are in order, is at least `first` and less than `end`. */
function hasOneFrom(values: ArrayLike<Value>, first: Value, end: Value): boolean {
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

function isOneFamily(one: Value, other: Value): boolean {
  return typeof one === typeof other
}
