/**
 * Who holds which range: whoever claimed it first. Others who offer the very same range stand in
 * while the first one is silent. A range within another one is none of that one's. Pure: every node
 * comes to the same answer, but for who is silent.
 */
import { type MeshNetworks, parseEndpoint } from './entry.ts'
import { exact } from './exact.ts'
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
  readonly #networks: readonly Prefix[]
  readonly #outside: Outside
  readonly #defaultRoute: string | null
  #hasDefault = false

  /** The nodes in their order. */
  constructor(nodes: readonly MeshNode[], { networks, outside, defaultRoute = null }: Ground) {
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
    const { own, ranges } = parsed(node)
    this.#own.set(node, this.#ownAmong(own, name))
    for (const { said, text, prefix } of ranges) {
      if (prefix === null) this.refuse(name, said, 'it is no CIDR')
      else if (prefix.length === 0) this.#takeDefault(node, text)
      else {
        const reason = this.#reasonAgainst(prefix)
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
  #reasonAgainst(prefix: Prefix): string | null {
    const own = this.#networks.find((network) => overlaps(network, prefix))
    if (own !== undefined) return `it overlaps the addresses of the mesh, ${prefixText(own)}`
    // The tunnel's own packets would go into the tunnel.
    const outside = this.#outside.within(prefix)
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
