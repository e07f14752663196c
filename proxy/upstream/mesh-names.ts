/** Names of endpoints: nodes of the mesh by the agent's file, all others by the machine. */
import { dialPathOf } from '../../mesh/dial.ts'
import { MeshNames } from '../../mesh/names.ts'
import { type Lookup, systemLookup } from './names.ts'

/** The agent's file is looked at this often; its contents are read when it changed. */
const ttlMs = 1_000

/** `folder` is that of the agent; null: there are no mesh names. */
export function endpointLookup(folder: string | null): Lookup {
  if (folder === null) return systemLookup
  const names = new MeshNames(folder)
  return async (host) => {
    if (!host.startsWith('mesh://')) return systemLookup(host)
    const addresses = names.addressesOf(host.slice('mesh://'.length))
    // Without an interface the agent dials; the system would look for these elsewhere.
    const via = dialPathOf(folder)
    return { addresses, ttlMs, ...(via === null ? {} : { via }) }
  }
}
