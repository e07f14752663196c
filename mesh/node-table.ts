/** The nodes of a view that signed what is said of them; each is checked once. */
import type { Entry } from './entry.ts'
import { verifiedRecords } from './identity.ts'
import { nodeOf } from './node.ts'
import type { MeshNode } from './topology.ts'
import type { View } from './view.ts'

export class NodeTable {
  #entries: View['entries'] = new Map()
  /** One for each entry, in their order; null: its node did not sign it. */
  #nodes: readonly (MeshNode | null)[] = []

  /** Entries that stayed are the same objects from one view to the next. */
  of({ entries }: View): readonly MeshNode[] {
    const known = new Map<Entry, MeshNode | null>()
    let at = 0
    for (const entry of this.#entries.values()) {
      if (entries.get(entry.id) === entry) known.set(entry, this.#nodes[at] ?? null)
      at += 1
    }
    const fresh = [...entries.values()].filter((entry) => !known.has(entry))
    const records = verifiedRecords(fresh)
    for (const [number, entry] of fresh.entries()) {
      known.set(entry, nodeOf(entry, records[number] ?? null))
    }
    this.#entries = entries
    this.#nodes = Array.from(entries.values(), (entry) => known.get(entry) ?? null)
    return this.#nodes.filter((node) => node !== null)
  }
}
