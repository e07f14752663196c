/** The nodes that an agent knows at one version, and how two ends see that they know the same. */
import { createHash } from 'node:crypto'
import type { Delta, Entry, Snapshot } from './entry.ts'

/** The same at the same version and hash. */
export interface View {
  readonly version: number
  readonly entries: ReadonlyMap<string, Entry>
  readonly hash: string
}

/** Of no entries. */
export const noHash = '0'.repeat(64)

/** Before anything is known. */
export const emptyView: View = { version: 0, entries: new Map(), hash: noHash }

export function viewOf({ version, nodes }: Snapshot): View {
  const entries = new Map(nodes.map((entry) => [entry.id, entry]))
  return { version, entries, hash: hashOf(entries.values()) }
}

/** Null when the delta does not begin where the view is, or does not lead where it says. */
export function withDelta(view: View, delta: Delta): View | null {
  if (delta.from !== view.version) return null
  const entries = new Map(view.entries)
  const changed: Entry[] = []
  const drop = (id: string): void => {
    const before = entries.get(id)
    if (before !== undefined) changed.push(before)
    entries.delete(id)
  }
  for (const id of delta.remove) drop(id)
  for (const entry of delta.upsert) {
    drop(entry.id)
    entries.set(entry.id, entry)
    changed.push(entry)
  }
  const hash = mixed(view.hash, changed)
  return hash === delta.hash ? { version: delta.to, entries, hash } : null
}

/** Independent of the order, and cheap to keep up: each entry flips its own bits. */
export function hashOf(entries: Iterable<Entry>): string {
  return mixed(noHash, entries)
}

/** `hash` after these came or, having been in it, went. */
export function mixed(hash: string, entries: Iterable<Entry>): string {
  const sum = Buffer.from(hash, 'hex')
  for (const entry of entries) {
    const digest = createHash('sha256').update(textOf(entry)).digest()
    for (let at = 0; at < sum.length; at += 1) sum[at] = (sum[at] ?? 0) ^ (digest[at] ?? 0)
  }
  return sum.toString('hex')
}

function textOf(entry: Entry): string {
  const { id, identity, addresses, observed, since, record, signature, granted = [] } = entry
  const { location = null, isLeader = false, isAway = false } = entry
  const told = [id, identity, addresses, observed, since, record, signature]
  const marks = location === null && !isAway ? [] : [location, isLeader, isAway]
  // Agents of before know nothing of what is not there.
  if (granted.length === 0 && marks.length === 0) return JSON.stringify(told)
  return JSON.stringify([...told, granted, ...marks])
}
