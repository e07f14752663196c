/**
 * Through whom packets of one location reach another one. Within a location every node reaches
 * every other one by itself; what goes to or comes from elsewhere goes through one of its leaders,
 * for each node the same one as long as that answers. Leaders, and nodes without a location, reach
 * each other by themselves. Pure.
 */
import { mixed, numberOf } from './relays.ts'
import type { MeshNode } from './topology.ts'

/** How this node sees the others. */
export interface Outlook {
  readonly self: MeshNode | undefined
  /** Ids of nodes that do not answer. */
  readonly silent: ReadonlySet<string>
}

export class Locations {
  readonly #self: MeshNode | undefined
  readonly #silent: ReadonlySet<string>
  /** By location; those without leaders are none. */
  readonly #leaders: ReadonlyMap<string, readonly MeshNode[]>
  readonly #isSelfInner: boolean
  /** To everywhere else, where this node is no leader of its location. */
  readonly #out: readonly MeshNode[]

  constructor(nodes: readonly MeshNode[], { self, silent }: Outlook) {
    this.#self = self
    this.#silent = silent
    const leaders = nodes.filter(
      ({ location, isLeader }) => isLeader === true && location !== undefined,
    )
    this.#leaders = Map.groupBy(leaders, ({ location = '' }) => location)
    this.#isSelfInner = self !== undefined && this.isInner(self)
    this.#out = self !== undefined && this.#isSelfInner ? this.#leadersFor(self) : []
  }

  /** Whether anybody leads. */
  get isAny(): boolean {
    return this.#leaders.size > 0
  }

  /** Those through whom this node reaches what is elsewhere, the first choice first; empty: it
   * reaches them by itself. */
  get out(): readonly MeshNode[] {
    return this.#out
  }

  /** Whether others reach it through its leaders. */
  isInner({ location, isLeader = false }: MeshNode): boolean {
    return location !== undefined && !isLeader && this.#leaders.has(location)
  }

  /** Whether this node and that one speak with each other without a leader between them. */
  isNear(node: MeshNode): boolean {
    if (node === this.#self || this.#leaders.size === 0) return true
    if (node.location !== undefined && node.location === this.#self?.location) return true
    return !this.#isSelfInner && !this.isInner(node)
  }

  /** To whom packets for a node go; behind it those who may send for it as well, and stand in. */
  waysTo(node: MeshNode): readonly MeshNode[] {
    if (this.isNear(node)) return [node]
    return this.#isSelfInner ? this.#out : this.#leadersFor(node)
  }

  /** Whether this node carries packets of others. */
  get isLeading(): boolean {
    return this.#self?.location !== undefined && this.#self.isLeader === true
  }

  /** Whether this node carries the packets of that one. */
  isInside({ location }: MeshNode): boolean {
    return this.isLeading && location === this.#self?.location
  }

  /** By its name. */
  leadersOf(location: string): readonly MeshNode[] {
    return this.#leaders.get(location) ?? []
  }

  /** Its leaders, where none of them is there. */
  missingOf(location: string): readonly MeshNode[] {
    const leaders = this.leadersOf(location)
    return leaders.every((leader) => this.#doubt(leader) > 0) ? leaders : []
  }

  /** Those that answer first; else in the order that they have. */
  byDoubt(nodes: readonly MeshNode[]): readonly MeshNode[] {
    return nodes.toSorted((one, other) => this.#doubt(one) - this.#doubt(other))
  }

  /** What this node sees by itself is surer than what the coordinator does not see. */
  #doubt({ id, isAway = false }: MeshNode): number {
    return this.#silent.has(id) ? 2 : Number(isAway)
  }

  /** Each ranks the leaders by itself (rendezvous hashing): the two ends choose the same one. */
  #leadersFor(node: MeshNode): readonly MeshNode[] {
    const leaders = this.leadersOf(node.location ?? '')
    const own = numberOf(node)
    const rank = (leader: MeshNode): number => mixed(numberOf(leader) ^ own)
    return this.byDoubt(leaders.toSorted((one, other) => rank(other) - rank(one)))
  }
}
