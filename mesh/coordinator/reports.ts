/** What agents told of themselves last: for the picture of the mesh and for metrics. */
import type { Report } from '../entry.ts'

type PeerPath = NonNullable<Report['peers']>[number]['path']

/** The newest report of a node. */
export interface NodeReport {
  readonly atMs: number
  readonly applied: number
  readonly peers: NonNullable<Report['peers']>
}

export class Reports {
  readonly #reports = new Map<string, NodeReport>()

  /** A later report without peers leaves what is known of them. */
  take(id: string, { applied, peers }: Report, atMs: number): void {
    const before = this.#reports.get(id)
    this.#reports.set(id, { atMs, applied, peers: peers ?? before?.peers ?? [] })
  }

  of(id: string): NodeReport | null {
    return this.#reports.get(id) ?? null
  }

  /** How many peers of the nodes are reached by each path, as they reported it last. */
  get paths(): Readonly<Record<PeerPath, number>> {
    const counts = { direct: 0, relay: 0, none: 0 }
    for (const { peers } of this.#reports.values()) {
      for (const { path } of peers) counts[path] += 1
    }
    return counts
  }

  /** Nodes that are gone are not kept. */
  keepOnly(isThere: (id: string) => boolean): void {
    for (const id of this.#reports.keys()) if (!isThere(id)) this.#reports.delete(id)
  }
}
