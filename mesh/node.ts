/** From what the coordinator tells of a node to what the topology needs of it. */
import { endpointText, type Entry } from './entry.ts'
import { verifiedRecord } from './identity.ts'
import type { MeshNode } from './topology.ts'

/** Null for an entry that its node did not sign: a coordinator cannot put words in its mouth. */
export function nodeOf(entry: Entry): MeshNode | null {
  const record = verifiedRecord(entry)
  if (record === null) return null
  const { id, addresses, since, observed } = entry
  const seen = observed === null ? null : endpointText(observed, record.port)
  const { name, key, previousKey, endpoint } = record
  const advertise = [...new Set([...record.advertise, ...(entry.granted ?? [])])]
  const before = previousKey === undefined ? {} : { previousKey }
  return { id, name, key, ...before, addresses, advertise, endpoint: endpoint ?? seen, since }
}
