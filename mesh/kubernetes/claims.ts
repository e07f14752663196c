/** From what people and other programs write into Kubernetes to peers that are no agents. */
import { endpointText, isKey, parseEndpoint } from '../entry.ts'
import { hostPrefix, parseAddress, parsePrefix, prefixText } from '../prefix.ts'
import { type ClusterNode, internalAddresses, type PeerSpec, podRanges } from './objects.ts'
import { annotations, portDefault } from './terms.ts'

/** A peer that nobody signs for but who wrote it down. */
export interface Claim {
  readonly key: string
  readonly port: number
  readonly endpoint: string | null
  readonly advertise: readonly string[]
}

/** Why something written is no peer. */
export class ClaimFault extends Error {}

/** A Peer or a Gateway; throws `ClaimFault`. The API server has judged most of it already. */
export function claimOfSpec(spec: PeerSpec): Claim {
  const { publicKey, listenPort: port = portDefault } = spec
  if (!isKey(publicKey)) throw new ClaimFault('publicKey is no WireGuard key: 32 bytes in base64')
  const advertise = [...(spec.allowedIPs ?? []), ...(spec.podCIDRs ?? [])]
  return {
    key: publicKey,
    port,
    endpoint: endpointOf(spec.endpoint, port),
    advertise: all(advertise),
  }
}

/** A node with the annotations of seed 003 alone; null when it has none. Throws `ClaimFault`. */
export function claimOfNode(node: ClusterNode): Claim | null {
  const { [annotations.seedKey]: key, [annotations.seedAddress]: address = '' } =
    node.metadata.annotations ?? {}
  if (key === undefined) return null
  if (!isKey(key)) throw new ClaimFault(`${annotations.seedKey} is no WireGuard key`)
  const [at] = internalAddresses(node)
  const own = parseAddress(address)
  return {
    key,
    port: portDefault,
    endpoint: at === undefined ? null : endpointText(at, portDefault),
    advertise: all([...podRanges(node), ...(own === null ? [] : [prefixText(hostPrefix(own))])]),
  }
}

/** Whether they are the same peer. */
export function isSameClaim(one: Claim, other: Claim): boolean {
  const text = ({ key, port, endpoint, advertise }: Claim): string =>
    JSON.stringify([key, port, endpoint, advertise])
  return text(one) === text(other)
}

/** With a port, or as seed 004 writes it: an address, and the port beside it. */
function endpointOf(text: string | undefined, port: number): string | null {
  if (text === undefined || text === '') return null
  if (parseEndpoint(text) !== null) return text
  const address = text.replace(/^\[(.*)\]$/, '$1')
  if (parseAddress(address) === null) throw new ClaimFault(`endpoint: ${text} is no ADDRESS:PORT`)
  return endpointText(address, port)
}

function all(ranges: readonly string[]): readonly string[] {
  for (const range of ranges) {
    if (parsePrefix(range) === null) throw new ClaimFault(`${range} is no CIDR, or has host bits`)
  }
  return [...new Set(ranges)]
}
