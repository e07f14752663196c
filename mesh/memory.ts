/** What an agent keeps on disk, so that the mesh goes on without its coordinator. */
import { z } from 'zod'
import { entry, meshNetworks } from './entry.ts'
import { readState, writeSecret } from './folder.ts'
import { emptyView, type View, viewOf } from './view.ts'

const membershipFile = 'membership.json'
export const viewFile = 'view.json'

const membership = z.object({
  url: z.string(),
  pin: z.string(),
  id: z.string(),
  name: z.string(),
  networks: meshNetworks,
})
/** Which mesh a node is in, since it joined. */
export type Membership = z.infer<typeof membership>

/** Null before the node joined. */
export function readMembership(folder: string): Membership | null {
  return readState(folder, membershipFile, membership)
}

export function writeMembership(folder: string, value: Membership): void {
  writeSecret(folder, membershipFile, JSON.stringify(value))
}

/** The last view that was applied. */
export function readView(folder: string): View {
  const nodes = z.array(entry)
  const kept = readState(
    folder,
    viewFile,
    z.object({ version: z.number(), hash: z.string(), nodes }),
  )
  return kept === null ? emptyView : viewOf(kept)
}

export function writeView(folder: string, { version, hash, entries }: View): void {
  writeSecret(folder, viewFile, JSON.stringify({ version, hash, nodes: [...entries.values()] }))
}
