/** What agents told of themselves last: for the picture of the mesh and for metrics. */
import type { Report } from '../entry.ts'

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

  /** Nodes that are gone are not kept. */
  keepOnly(isThere: (id: string) => boolean): void {
    for (const id of this.#reports.keys()) if (!isThere(id)) this.#reports.delete(id)
  }
}
