/**
 * Through whom a node is reached while no direct path to it is proven. Whoever says that others
 * reach it at an endpoint is a relay; two of them serve each node, and every node comes to the same
 * two by itself. Pure.
 */
import { networkInterfaces } from 'node:os'
import { endpointText, type MeshNetworks } from './entry.ts'
import { meshLimits } from './limits.ts'
import { contains, hostPrefix, parseAddress, parsePrefix } from './prefix.ts'
import type { MeshNode } from './topology.ts'

/** What a node says that its device can do beside WireGuard. */
export interface Ways {
  /** It forwards for others. */
  readonly isRelay: boolean
  /** Where else it might be reached directly. */
  readonly candidates: readonly string[]
  /** Nobody says that it is reached at its endpoint: the coordinator saw its NAT there. */
  readonly isGuess: boolean
  /** Where a relay takes packets by TCP as well. */
  readonly tcpPort?: number
  /** Where it takes them by HTTP/3. */
  readonly h3Port?: number
}

/** Modes whose device asks, answers and forwards; a kernel's WireGuard has no such messages. */
const modes: ReadonlySet<string> = new Set(['tun', 'netstack'])

/** Whether a device of this mode can reach others through relays, and be one. */
export function knowsRelays(mode: string): boolean {
  return modes.has(mode)
}

interface Ranked {
  readonly relay: MeshNode
  readonly rank: number
}

/** The relays of a mesh. */
export class Relays {
  readonly #relays: readonly { readonly relay: MeshNode; readonly number: number }[]

  /** Of these nodes; more relays than are counted are none, and the oldest ones count. */
  constructor(nodes: readonly MeshNode[]) {
    this.#relays = nodes
      .filter(({ ways }) => ways?.isRelay === true)
      .toSorted((one, other) => one.since - other.since || (one.id < other.id ? -1 : 1))
      .slice(0, meshLimits.relaysMax)
      .map((relay) => ({ relay, number: numberOf(relay) }))
  }

  /**
   * The two that serve a node, the first choice first. Each ranks the relays by itself (rendezvous
   * hashing), so one that leaves moves only those whom it served.
   */
  of(node: MeshNode): readonly MeshNode[] {
    if (node.ways === undefined) return []
    const own = numberOf(node)
    // After each change, for each node: so without an object for each rank.
    const best: Ranked[] = []
    let least = -1
    for (const { relay, number } of this.#relays) {
      const rank = mixed(number ^ own)
      if (rank <= least || relay.id === node.id) continue
      const place = best.findIndex((one) => one.rank < rank)
      best.splice(place === -1 ? best.length : place, 0, { relay, rank })
      if (best.length > meshLimits.relaysPerNode) best.pop()
      if (best.length === meshLimits.relaysPerNode) least = best.at(-1)?.rank ?? -1
    }
    return best.map(({ relay }) => relay)
  }
}

/** Ids are hashes: their first bits will do. */
export function numberOf({ id }: MeshNode): number {
  return Number.parseInt(id.slice(0, 8), 16)
}

/** Every bit of the answer depends on every bit of the number (MurmurHash3's last step). */
export function mixed(number: number): number {
  const first = Math.imul(number ^ (number >>> 16), 0x85ebca6b)
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35)
  return (second ^ (second >>> 16)) >>> 0
}

/** Where this machine might be reached directly, by the addresses that it has outside the mesh. */
export function candidatesHere(port: number, networks: MeshNetworks | null): readonly string[] {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const reachable = own.filter(({ internal, address }) => !internal && !isOfLink(address))
  const texts = reachable.map(({ address }) => address)
  const ranges = networks === null ? [] : [networks.ipv4, networks.ipv6]
  return outsideOf(texts, ranges)
    .slice(0, meshLimits.candidatesMax)
    .map((address) => endpointText(address, port))
}

/** RFC 3927 and RFC 4291 §2.5.6. */
function isOfLink(address: string): boolean {
  return /^(?:169\.254\.|fe[89ab])/i.test(address)
}

/** Those of these addresses that lie in none of the ranges. */
export function outsideOf(
  addresses: readonly string[],
  ranges: readonly string[],
): readonly string[] {
  const prefixes = ranges.flatMap((text) => parsePrefix(text) ?? [])
  return addresses.filter((text) => {
    const address = parseAddress(text)
    return address !== null && !prefixes.some((range) => contains(range, hostPrefix(address)))
  })
}
