/** From what the coordinator tells of a node to what the topology needs of it. */
import { endpointText, type Entry, type NodeRecord, parseEndpoint } from './entry.ts'
import { exact } from './exact.ts'
import { verifiedRecord } from './identity.ts'
import { outsideOf, type Ways } from './relays.ts'
import type { MeshNode } from './topology.ts'

/** Null for an entry that its node did not sign: a coordinator cannot put words in its mouth.
 * `record` is what it did sign. */
export function nodeOf(entry: Entry, record = verifiedRecord(entry)): MeshNode | null {
  if (record === null) return null
  const { id, addresses, since, observed, location } = entry
  const seen = observed === null ? null : endpointText(observed, record.port)
  const ways = waysOf(entry, record)
  const { name, key, previousKey, endpoint } = record
  const advertise = [...new Set([...record.advertise, ...(entry.granted ?? [])])]
  const before = previousKey === undefined ? {} : { previousKey }
  return {
    id,
    name,
    key,
    ...before,
    addresses,
    advertise,
    endpoint: endpoint ?? seen,
    since,
    ...(ways === null ? {} : { ways }),
    ...(location === undefined ? {} : { location }),
    ...(entry.isLeader === true ? { isLeader: true } : {}),
    ...(entry.isAway === true ? { isAway: true } : {}),
  }
}

/** Null for a node that knows nothing of relays. */
function waysOf({ observed, granted }: Entry, record: NodeRecord): Ways | null {
  const { candidates, endpoint, advertise, isRelay = false, tcpPort, h3Port } = record
  if (candidates === undefined) return null
  // Its own ranges lie behind it: nobody else reaches it there.
  const own = [...advertise, ...(granted ?? [])]
  const isOutside = (text: string): boolean =>
    outsideOf([parseEndpoint(text)?.address ?? ''], own).length > 0
  return {
    isRelay: isRelay && endpoint !== null,
    ...(tcpPort === undefined ? {} : { tcpPort }),
    ...(h3Port === undefined ? {} : { h3Port }),
    candidates: exact(candidates.filter(isOutside)),
    isGuess:
      endpoint === null && candidates.every((text) => parseEndpoint(text)?.address !== observed),
  }
}
