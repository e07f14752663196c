/** The nodes of a view that signed what is said of them; each is checked once. */
import type { Entry } from './entry.ts'
import { verifiedRecords } from './identity.ts'
import { nodeOf } from './node.ts'
import type { MeshNode } from './topology.ts'
import type { View } from './view.ts'

export class NodeTable {
  #entries: View['entries'] = new Map()
  #nodes = new Map<string, MeshNode | null>()

  /** Entries that stayed are the same objects from one view to the next. */
  of({ entries }: View): readonly MeshNode[] {
    const fresh: Entry[] = []
    for (const entry of entries.values()) {
      if (this.#entries.get(entry.id) !== entry) fresh.push(entry)
    }
    const records = verifiedRecords(fresh)
    const made = new Map(fresh.map((entry, at) => [entry.id, nodeOf(entry, records[at] ?? null)]))
    const nodes = new Map<string, MeshNode | null>()
    for (const id of entries.keys()) {
      nodes.set(id, (made.has(id) ? made.get(id) : this.#nodes.get(id)) ?? null)
    }
    this.#entries = entries
    this.#nodes = nodes
    return [...nodes.values()].filter((node) => node !== null)
  }
}
