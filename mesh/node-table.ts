/** The nodes of a view that signed what is said of them; each is checked once. */
import type { Entry } from './entry.ts'
import { nodeOf } from './node.ts'
import type { MeshNode } from './topology.ts'
import type { View } from './view.ts'

export class NodeTable {
  #known = new Map<Entry, MeshNode | null>()

  /** Entries that stayed are the same objects from one view to the next. */
  of({ entries }: View): readonly MeshNode[] {
    const known = new Map<Entry, MeshNode | null>()
    for (const entry of entries.values()) {
      const before = this.#known.get(entry)
      known.set(entry, before === undefined ? nodeOf(entry) : before)
    }
    this.#known = known
    return [...known.values()].filter((node) => node !== null)
  }
}
