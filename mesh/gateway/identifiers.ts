/**
 * Which destinations an agent stands for, as Konnectivity's agents say it:
 * `host=NAME`, `ipv4=ADDRESS`, `ipv6=ADDRESS`, `cidr=RANGE`, `default-route=true`.
 */
import { MeshFault } from '../fault.ts'
import {
  addressText,
  contains,
  hostPrefix,
  parseAddress,
  parsePrefix,
  type Prefix,
} from '../prefix.ts'
import { gatewayLimits } from './limits.ts'

/** The destinations of one agent. */
export interface Identifiers {
  /** Names in lower case, addresses as RFC 5952 writes them. */
  readonly hosts: ReadonlySet<string>
  readonly cidrs: readonly Prefix[]
  readonly isDefault: boolean
}

/** How well an agent stands for a destination: the greatest wins, below zero not at all. */
const exact = 1_000
const none = -1

/** Several are joined by `&` or commas; throws a `MeshFault`. */
export function parseIdentifiers(text: string): Identifiers {
  const parts = text.split(/[&,]/).filter((part) => part !== '')
  if (parts.length === 0 || parts.length > gatewayLimits.identifiersMax) {
    throw invalid(text, `it has ${parts.length}, and 1 to ${gatewayLimits.identifiersMax} can be`)
  }
  const hosts = new Set<string>()
  const cidrs: Prefix[] = []
  let isDefault = false
  for (const part of parts) {
    const [, kind = '', value = ''] = /^([a-z0-9-]+)=(.+)$/.exec(part) ?? []
    const address = parseAddress(value)
    const range = parsePrefix(value)
    if (kind === 'host' && hostPattern.test(value)) hosts.add(value.toLowerCase())
    else if (kind === 'ipv4' && address?.family === 4) hosts.add(addressText(address))
    else if (kind === 'ipv6' && address?.family === 6) hosts.add(addressText(address))
    else if (kind === 'cidr' && range !== null) cidrs.push(range)
    else if (kind === 'default-route' && value === 'true') isDefault = true
    else throw invalid(text, `"${part}" is none`)
  }
  return { hosts, cidrs, isDefault }
}

const hostPattern = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/

function invalid(text: string, why: string): MeshFault {
  return new MeshFault('IDENTIFIER_INVALID', {
    where: '--agent-identifiers',
    message: `"${text}": ${why}`,
    mend: 'write for example ipv4=10.1.2.3 or host=metrics,cidr=10.1.0.0/16 or default-route=true',
  })
}

/** How well they stand for a host: exact, then the longest range, then the default. */
export function rankOf({ hosts, cidrs, isDefault }: Identifiers, host: string): number {
  const address = parseAddress(host)
  if (hosts.has(address === null ? host.toLowerCase() : addressText(address))) return exact
  const inner = address === null ? null : hostPrefix(address)
  const lengths = cidrs.flatMap((cidr) =>
    inner !== null && contains(cidr, inner) ? [cidr.length + 1] : [],
  )
  return Math.max(...lengths, isDefault ? 0 : none)
}

/** Whether they stand for it at all. */
export function standsFor(identifiers: Identifiers, host: string): boolean {
  return rankOf(identifiers, host) !== none
}
