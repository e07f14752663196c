/**
 * A peer that is no agent: a phone, a router, any WireGuard. It joins here, with keys that nobody
 * keeps, and gets a configuration with every node that there is; the others wait for it to speak.
 */
import { passingIdentity, signRecord } from '../identity.ts'
import { meshLimits } from '../limits.ts'
import { nodeOf } from '../node.ts'
import { topology } from '../topology.ts'
import type { Registry } from './registry.ts'
import type { CoordinatorState } from './state.ts'

/** What the device needs to know. */
export interface ForeignPeer {
  readonly name: string
  readonly privateKey: string
  readonly addresses: readonly string[]
  readonly peers: readonly {
    readonly id: string
    readonly name: string
    readonly addresses: readonly string[]
    readonly publicKey: string
    readonly allowedIps: readonly string[]
    readonly endpoint: string | null
    readonly keepaliveS: number
    /** Where the coordinator sees its NAT: who begins there mostly reaches nobody. */
    readonly isBehindNat: boolean
  }[]
  /** `ADDRESS:PORT` of some that tell it how the network shows it (STUN, RFC 8489). */
  readonly stunServers: readonly string[]
}

const tokenLifeMs = 60_000
/** It listens wherever it likes: nobody calls it first. */
const port = 51_820

/** Lets a device in under a name. */
export async function joinForeign(
  { registry, pin }: CoordinatorState,
  name: string,
  nowMs: number,
): Promise<ForeignPeer> {
  const own = await passingIdentity()
  const { privateKey, publicKey: key } = own.wireguard
  const record = { name, key, port, endpoint: null, advertise: [], serial: nowMs }
  const signed = signRecord(own, record)
  const expiresAtMs = nowMs + tokenLifeMs
  const token = registry.createToken({ pin, uses: 1, labels: {}, cidrs: [], nowMs, expiresAtMs })
  registry.join({ identity: own.identity, signed, record, observed: null }, token, nowMs)
  return { name, privateKey, ...configOf(registry, own.id) }
}

/** What a device that is no agent needs to know of the others: it is as if behind a NAT. */
export function configOf(
  registry: Registry,
  self: string,
): Omit<ForeignPeer, 'name' | 'privateKey'> {
  const nodes = registry.entries('all').flatMap((entry) => nodeOf(entry) ?? [])
  const place = { self, networks: registry.networks, outside: [], isBehindNat: true }
  const { addresses, peers } = topology(nodes, place)
  const byKey = new Map(nodes.map((node) => [node.key, node]))
  const relays = nodes.filter(({ ways }) => ways?.isRelay === true)
  const places = relays.flatMap(({ endpoint }) => endpoint ?? [])
  return {
    addresses,
    stunServers: places.slice(0, meshLimits.relaysPerNode),
    peers: [...peers.values()].map(({ publicKey, allowedIps, endpoint, keepaliveS }) => {
      const { id = '', name = '', addresses: own = [], ways } = byKey.get(publicKey) ?? {}
      const isBehindNat = ways?.isGuess === true
      return { id, name, addresses: own, publicKey, allowedIps, endpoint, keepaliveS, isBehindNat }
    }),
  }
}

/** As `wg-quick` and the apps read it. */
export function wgQuickText({ name, privateKey, addresses, peers }: ForeignPeer): string {
  const head = [
    `# ${name}, from edge mesh export`,
    '[Interface]',
    `PrivateKey = ${privateKey}`,
    `Address = ${addresses.join(', ')}`,
  ]
  const blocks = peers.map(({ name, publicKey, allowedIps, endpoint, keepaliveS, isBehindNat }) => [
    // Relays are nothing that WireGuard itself knows.
    isBehindNat ? `# ${name}: behind a NAT, reached only if that lets its port in` : `# ${name}`,
    '[Peer]',
    `PublicKey = ${publicKey}`,
    `AllowedIPs = ${allowedIps.join(', ')}`,
    ...(endpoint === null ? [] : [`Endpoint = ${endpoint}`]),
    `PersistentKeepalive = ${keepaliveS}`,
  ])
  return [head, ...blocks].map((lines) => lines.join('\n')).join('\n\n')
}
