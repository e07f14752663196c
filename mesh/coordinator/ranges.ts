/** Which ranges a node may advertise. */
import type { MeshNetworks } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { contains, overlaps, parsePrefix } from '../prefix.ts'

/** Refuses ranges beyond what its token allows (none: any), and the mesh's own addresses. */
export function judgeRanges(
  advertise: readonly string[],
  allowedTexts: readonly string[],
  networks: MeshNetworks,
): void {
  const allowed = allowedTexts.flatMap((text) => parsePrefix(text) ?? [])
  const own = [networks.ipv4, networks.ipv6].flatMap((text) => parsePrefix(text) ?? [])
  for (const text of advertise) {
    const prefix = parsePrefix(text)
    if (prefix === null) continue // its schema has judged it
    if (allowed.length > 0 && !allowed.some((outer) => contains(outer, prefix))) {
      throw new MeshFault('CIDR_NOT_ALLOWED', {
        where: '--advertise',
        message: `the token does not allow ${text}`,
        mend: 'make a token with: edge mesh token --cidr …, or advertise what it allows',
      })
    }
    // A default route: whoever wants one of a node asks for it, and the mesh's own stay with it.
    if (prefix.length === 0) continue
    if (own.some((network) => overlaps(network, prefix))) {
      throw new MeshFault('CIDR_OVERLAPS', {
        where: '--advertise',
        message: `${text} overlaps the addresses of the mesh itself`,
        mend: `advertise ranges outside ${networks.ipv4} and ${networks.ipv6}`,
      })
    }
  }
}
