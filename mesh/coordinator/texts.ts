/**
 * What a stream is sent: the changes since the version that its agent has, or the whole table
 * where that is less. Agents with the same interest get the same bytes, made once.
 */
import { gzipSync } from 'node:zlib'
import type { Entry } from '../entry.ts'
import { meshLimits } from '../limits.ts'
import { mixed } from '../view.ts'
import type { ChangeLog } from './change-log.ts'
import type { Registry } from './registry.ts'

/** A leaf hears of nodes that are none, and of itself; the others hear of everybody. */
export interface Listener {
  readonly id: string
  readonly isLeaf: boolean
}

/** Bytes of one stream, and behind them some that others are sent as well: the same object. */
export interface Part {
  readonly own: string
  readonly shared: Buffer
}

/** Bytes for a stream, and the version that its agent has then. */
export interface Piece {
  readonly kind: 'delta' | 'snapshot'
  readonly parts: readonly Part[]
  readonly to: number
}

interface Kept {
  readonly version: number
  readonly hash: string
  readonly bytes: Buffer
}

/** What is made once for all who listen to the same. */
interface Shared {
  snapshot: Kept | null
  /** By the version of the first change in them, while nothing else changes. */
  readonly bodies: Map<number, Buffer>
  bodiesOf: number
}

/** Agents that were away come from many versions. */
const bodiesMax = 64

const newShared = (): Shared => ({ snapshot: null, bodies: new Map(), bodiesOf: 0 })

export class StreamTexts {
  readonly #registry: Registry
  readonly #all = newShared()
  readonly #core = newShared()

  constructor(registry: Registry) {
    this.#registry = registry
  }

  /** What an agent with this hash at the newest version knows. */
  hashFor({ id, isLeaf }: Listener): string {
    const { core, all } = this.#registry
    return isLeaf ? mixed(core.hash, [this.#registry.entry(id) ?? []].flat()) : all.hash
  }

  /** Null: nothing concerns it. `from` null: what it has is of no use. */
  after(listener: Listener, from: number | null): Piece | null {
    const log = this.#logOf(listener)
    const { version } = this.#registry
    if (from === null || from < this.#registry.forgotten || this.#isMost(log, from)) {
      return this.#whole(listener, log)
    }
    const isOwn = listener.isLeaf && this.#registry.all.changedAt(listener.id) > from
    const first = log.firstAfter(from)
    if (first === null && !isOwn) return null
    const body = isOwn || first === null ? this.#ownBody(listener, from) : this.#body(log, first)
    return { kind: 'delta', parts: [this.#delta(listener, from, body)], to: version }
  }

  #delta(listener: Listener, from: number, shared: Buffer): Part {
    const { version: to } = this.#registry
    const head = JSON.stringify({ from, to, hash: this.hashFor(listener) })
    return { own: `event: delta\ndata: ${head.slice(0, -1)},`, shared }
  }

  /** The kept table, and at once what changed since it was made. */
  #whole(listener: Listener, log: ChangeLog): Piece {
    const kept = this.#snapshot(listener, log)
    const ids = log.since(kept.version).map(({ id }) => id)
    if (listener.isLeaf && !ids.includes(listener.id)) ids.push(listener.id)
    const delta = this.#delta(listener, kept.version, this.#bodyOf(ids))
    const table = { own: '', shared: kept.bytes }
    return { kind: 'snapshot', parts: [table, delta], to: this.#registry.version }
  }

  #snapshot({ isLeaf }: Listener, log: ChangeLog): Kept {
    const shared = isLeaf ? this.#core : this.#all
    const before = shared.snapshot
    if (before !== null && log.countSince(before.version) <= meshLimits.snapshotChangesMax) {
      return before
    }
    const { version } = this.#registry
    const nodes = this.#registry.entries(isLeaf ? 'core' : 'all')
    const text = JSON.stringify({ version, hash: log.hash, isPart: true, nodes })
    const made = { version, hash: log.hash, bytes: Buffer.from(snapshotEvent(text)) }
    shared.snapshot = made
    return made
  }

  /** Whether the table is less than the changes since then. */
  #isMost(log: ChangeLog, from: number): boolean {
    const count = log.countSince(from)
    return count > meshLimits.snapshotChangesMax && count > this.#registry.count / 2
  }

  #body(log: ChangeLog, first: number): Buffer {
    const shared = log === this.#registry.core ? this.#core : this.#all
    if (shared.bodiesOf !== log.newest || shared.bodies.size >= bodiesMax) shared.bodies.clear()
    shared.bodiesOf = log.newest
    let body = shared.bodies.get(first)
    if (body === undefined) {
      body = this.#bodyOf(log.since(first - 1).map(({ id }) => id))
      shared.bodies.set(first, body)
    }
    return body
  }

  #ownBody(listener: Listener, from: number): Buffer {
    const ids = this.#logOf(listener).since(from)
    return this.#bodyOf([...ids.map(({ id }) => id), listener.id])
  }

  /** What follows the head of a delta. */
  #bodyOf(ids: readonly string[]): Buffer {
    const known = (id: string): Entry | undefined => this.#registry.entry(id)
    const upsert = ids.flatMap((id) => known(id) ?? [])
    const remove = ids.filter((id) => known(id) === undefined)
    const text = `"upsert":${JSON.stringify(upsert)},"remove":${JSON.stringify(remove)}}\n\n`
    return Buffer.from(text)
  }

  #logOf({ isLeaf }: Listener): ChangeLog {
    return isLeaf ? this.#registry.core : this.#registry.all
  }
}

function snapshotEvent(text: string): string {
  if (text.length < meshLimits.compressedBytesMin) return `event: snapshot\ndata: ${text}\n\n`
  // Most of it are keys and signatures, which no effort makes smaller.
  const packed = gzipSync(text, { level: 3 }).toString('base64')
  return `event: snapshot-gzip\ndata: ${packed}\n\n`
}
