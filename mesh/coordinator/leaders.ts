/**
 * Who leads a location, and who of those that others stand in for is away: what all nodes have to
 * know alike. A location has two leaders that work at the same time. One that is away stays one
 * until a third was appointed and is back; one that is one too many first rests, so that nobody
 * sends to it any more when it lays its office down.
 */
import type { Entry, NodeRecord } from '../entry.ts'
import { meshLimits } from '../limits.ts'
import { parsePrefix, prefixText } from '../prefix.ts'
import type { Registry } from './registry.ts'

/** What leaders stand on. */
export interface LeadersParts {
  readonly registry: Pick<Registry, 'all' | 'version' | 'entry' | 'isLeaf' | 'mark'>
  readonly isConnected: (id: string) => boolean
  readonly nowMs: number
}

interface Marks {
  readonly isLeader: boolean
  readonly isAway: boolean
}

/** A node as far as it matters here. */
interface Known extends Marks {
  readonly id: string
  readonly since: number
  readonly location: string | null
  readonly ranges: readonly string[]
  /** Agents say whether they forward; of others nobody knows whether they are there. */
  readonly forwards: boolean | null
  readonly canLead: boolean
  /** Others reach it where it says. */
  readonly hasEndpoint: boolean
}

export class Leaders {
  readonly #parts: LeadersParts
  readonly #known = new Map<string, Known>()
  readonly #locations = new Map<string, Set<string>>()
  readonly #ranges = new Map<string, Set<string>>()
  /** Ranges that several offer. */
  readonly #shared = new Set<string>()
  readonly #startedMs: number
  /** Since when a node of interest is not connected, and since when a leader rests. */
  readonly #missingMs = new Map<string, number>()
  readonly #restingMs = new Map<string, number>()
  /** Who said that it ends, and has no new stream since. */
  readonly #leaving = new Set<string>()
  /** Locations with a node that changed since the last look. */
  readonly #changed = new Set<string>()
  /** Leaders by their location. */
  readonly #leading = new Map<string, Set<string>>()
  /** Who is a leader or away in the table. */
  readonly #marked = new Set<string>()
  #wanted = new Map<string, Marks>()
  #seenVersion = 0

  constructor(parts: LeadersParts) {
    this.#parts = parts
    this.#startedMs = parts.nowMs
  }

  /** A node says that it ends: others turn away from it before it does. */
  left(id: string): void {
    this.#leaving.add(id)
  }

  /** It has a new stream. */
  arrived(id: string): void {
    this.#leaving.delete(id)
  }

  /** One look at all of them; whether something is to be told. */
  look(nowMs: number): boolean {
    this.#follow()
    this.#wanted = new Map()
    for (const [location, ids] of this.#locations) {
      if (this.#isSettled(location)) this.#keep(location)
      else this.#judgeLocation(this.#nodesOf(ids), nowMs)
    }
    this.#changed.clear()
    for (const range of this.#shared) {
      const nodes = this.#nodesOf(this.#ranges.get(range) ?? [])
      for (const node of this.#awayOf(nodes, nowMs)) {
        this.#want(node, { isLeader: false, isAway: true })
      }
    }
    const marked = [...this.#marked].filter((id) => !this.#wanted.has(id))
    for (const id of marked) this.#wanted.set(id, { isLeader: false, isAway: false })
    const changes = [...this.#wanted].filter(([id, { isLeader, isAway }]) => {
      const known = this.#known.get(id)
      if (known === undefined || (known.isLeader === isLeader && known.isAway === isAway))
        return false
      const marks = { isLeader: isLeader || undefined, isAway: isAway || undefined }
      return this.#parts.registry.mark(id, marks)
    })
    return changes.length > 0
  }

  /** Takes over what changed since the last look. */
  #follow(): void {
    const { registry } = this.#parts
    if (registry.version === this.#seenVersion) return
    for (const { id } of registry.all.since(this.#seenVersion)) {
      this.#forget(id)
      const entry = registry.entry(id)
      if (entry === undefined) this.#leaving.delete(id)
      else this.#learn(knownOf(entry))
    }
    this.#seenVersion = registry.version
  }

  #forget(id: string): void {
    const before = this.#known.get(id)
    if (before === undefined) return
    this.#known.delete(id)
    this.#marked.delete(id)
    if (before.location !== null) {
      this.#changed.add(before.location)
      drop(this.#locations, before.location, id)
      drop(this.#leading, before.location, id)
    }
    for (const range of before.ranges) {
      if (drop(this.#ranges, range, id) < 2) this.#shared.delete(range)
    }
  }

  #learn(known: Known): void {
    const { id, location, ranges } = known
    this.#known.set(id, known)
    if (known.isLeader || known.isAway) this.#marked.add(id)
    if (location !== null) {
      this.#changed.add(location)
      put(this.#locations, location, id)
      if (known.isLeader) put(this.#leading, location, id)
    }
    for (const range of ranges) if (put(this.#ranges, range, id) > 1) this.#shared.add(range)
  }

  /** A location of thousands is looked at when something is to be done. */
  #isSettled(location: string): boolean {
    const leaders = [...(this.#leading.get(location) ?? [])]
    return (
      !this.#changed.has(location) &&
      leaders.length === meshLimits.leadersPerLocation &&
      leaders.every((id) => this.#isHere(id) && this.#known.get(id)?.isAway === false)
    )
  }

  #keep(location: string): void {
    for (const id of this.#leading.get(location) ?? []) {
      const known = this.#known.get(id)
      if (known !== undefined) this.#want(known, { isLeader: true, isAway: false })
    }
  }

  #nodesOf(ids: Iterable<string>): readonly Known[] {
    const nodes = [...ids].flatMap((id) => this.#known.get(id) ?? [])
    return nodes.toSorted((one, other) => one.since - other.since)
  }

  /** Those of them that are not seen any more. */
  #awayOf(nodes: readonly Known[], nowMs: number): ReadonlySet<Known> {
    const agents = nodes.filter(({ forwards }) => forwards !== null)
    // All of them gone at once: it is their way to the coordinator that is.
    const isCutOff = agents.every(({ id }) => !this.#isHere(id))
    return new Set(agents.filter((node) => (isCutOff ? node.isAway : this.#isMissing(node, nowMs))))
  }

  #isHere(id: string): boolean {
    return this.#parts.isConnected(id) && !this.#leaving.has(id)
  }

  #isMissing({ id, isAway }: Known, nowMs: number): boolean {
    if (this.#isHere(id)) {
      this.#missingMs.delete(id)
      return false
    }
    if (this.#leaving.has(id)) return true
    if (nowMs - this.#startedMs < meshLimits.awayGraceMs) return isAway
    const sinceMs = this.#missingMs.get(id) ?? nowMs
    this.#missingMs.set(id, sinceMs)
    return isAway || nowMs - sinceMs >= meshLimits.awayAfterMs
  }

  #judgeLocation(nodes: readonly Known[], nowMs: number): void {
    const away = this.#awayOf(nodes, nowMs)
    const isAble = (node: Known): boolean => {
      const isThere = this.#isHere(node.id) || (node.isLeader && !away.has(node))
      // Leaves do not hear of a leaf.
      const isLeaf = this.#parts.registry.isLeaf(node.id)
      return node.forwards === true && node.canLead && isThere && !isLeaf
    }
    const best = nodes.filter(isAble).toSorted(byRank).slice(0, meshLimits.leadersPerLocation)
    for (const node of best) {
      this.#restingMs.delete(node.id)
      this.#want(node, { isLeader: true, isAway: false })
    }
    for (const node of nodes) {
      if (!node.isLeader || best.includes(node)) continue
      if (!this.#isHere(node.id)) {
        this.#want(node, { isLeader: true, isAway: away.has(node) })
        continue
      }
      // One too many: the others turn away from it first.
      const sinceMs = this.#restingMs.get(node.id) ?? nowMs
      this.#restingMs.set(node.id, sinceMs)
      const isOver = nowMs - sinceMs >= meshLimits.leaderRestMs
      if (isOver) this.#restingMs.delete(node.id)
      else this.#want(node, { isLeader: true, isAway: true })
    }
  }

  /** A node can be wanted as a leader, and be one of those who offer a range. */
  #want({ id }: Known, { isLeader, isAway }: Marks): void {
    const before = this.#wanted.get(id) ?? { isLeader: false, isAway: false }
    this.#wanted.set(id, {
      isLeader: before.isLeader || isLeader,
      isAway: before.isAway || isAway,
    })
  }
}

/** Who is reached by everybody first, then who is one already, then who joined first. */
function byRank(one: Known, other: Known): number {
  const places = [one, other].map(
    ({ hasEndpoint, isLeader, isAway }) => Number(!hasEndpoint) * 2 + Number(!isLeader || isAway),
  )
  return (places[0] ?? 0) - (places[1] ?? 0) || one.since - other.since
}

function knownOf(entry: Entry): Known {
  const { id, since, location = null, record, granted = [] } = entry
  const { canLead = true, isLeader = false, isAway = false } = entry
  const { advertise, endpoint, forwards = null } = JSON.parse(record) as NodeRecord
  const ranges = [...advertise, ...granted].flatMap((text) => {
    const prefix = parsePrefix(text)
    // A default route is taken by who names its node, and nobody stands in.
    return prefix === null || prefix.length === 0 ? [] : [prefixText(prefix)]
  })
  return {
    id,
    since,
    location,
    ranges: [...new Set(ranges)],
    forwards,
    hasEndpoint: endpoint !== null,
    canLead,
    isLeader,
    isAway,
  }
}

/** How many there are then. */
function put(sets: Map<string, Set<string>>, name: string, id: string): number {
  const set = sets.get(name) ?? new Set()
  sets.set(name, set.add(id))
  return set.size
}

function drop(sets: Map<string, Set<string>>, name: string, id: string): number {
  const set = sets.get(name)
  set?.delete(id)
  if (set?.size === 0) sets.delete(name)
  return set?.size ?? 0
}
