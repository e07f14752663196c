/** A persistent collection that a transaction has opened: its place in the store, and its clock. */
import { createHash } from 'node:crypto'
import type {
  CollectionFacts,
  CollectionStore,
  CollectionWrite,
} from '../../native/addon/index.d.ts'

/** The collections that outlive a transaction. */
export type CollectionName = 'GLOBAL' | 'IP' | 'RESOURCE' | 'SESSION' | 'USER'

/** The store's part that transactions need. */
export type MemberStore = Pick<
  CollectionStore,
  'facts' | 'read' | 'readAll' | 'set' | 'add' | 'remove' | 'expire' | 'decay'
>

/** Where collections are kept, and the time by which they end. */
export interface CollectionSource {
  readonly store: MemberStore
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** What is opened. */
export interface CollectionPlace {
  readonly webAppId: string
  readonly collection: CollectionName
  readonly key: string
  /** `SecCollectionTimeout`. */
  readonly timeoutMs: number
}

/** A longer key is kept by its digest, so that no client can fill the store with keys. */
const keyCharactersMax = 256

type Shown = (collection: OpenCollection) => number | string | null

/**
 * What ModSecurity 2 keeps beside the members. They are read by name only: a count and a search
 * over the collection see what rules have stored, as in ModSecurity 3, which has none of these.
 */
const builtIns: Readonly<Record<string, Shown>> = {
  key: ({ key }) => key,
  is_new: ({ isNew }) => (isNew ? 1 : 0),
  create_time: (collection) => seconds(collection.facts.createdMs),
  last_update_time: (collection) =>
    collection.exists ? seconds(collection.facts.updatedMs) : null,
  timeout: (collection) => seconds(collection.facts.timeoutMs),
  update_counter: (collection) => collection.facts.updates,
  update_rate: (collection) => {
    const { createdMs, updates } = collection.facts
    const lived = seconds(collection.nowMs) - seconds(createdMs)
    return lived <= 0 ? updates : Math.trunc((60 * updates) / lived)
  },
}

/** One collection under its key. Reads and writes go to the store at once. */
export class OpenCollection {
  readonly key: string
  /** True when the store knew nothing of it when it was opened. */
  readonly isNew: boolean
  readonly #source: CollectionSource
  readonly #place: string
  readonly #timeoutMs: number
  readonly #openedMs: number
  /** The update before this transaction; its own do not count for `deprecatevar`. */
  readonly #seenMs: number
  #changed = false

  constructor(source: CollectionSource, place: CollectionPlace) {
    this.key = place.key
    this.#source = source
    this.#place = placeOf(place)
    this.#timeoutMs = place.timeoutMs
    this.#openedMs = source.now()
    const facts = source.store.facts(this.#place, this.#openedMs)
    this.isNew = facts === null
    this.#seenMs = facts?.updatedMs ?? this.#openedMs
  }

  get nowMs(): number {
    return this.#source.now()
  }

  get exists(): boolean {
    return this.#source.store.facts(this.#place, this.nowMs) !== null
  }

  /** What the store knows, or what it would know from the first change on. */
  get facts(): CollectionFacts {
    const facts = this.#source.store.facts(this.#place, this.nowMs)
    const openedMs = this.#openedMs
    return (
      facts ?? { createdMs: openedMs, updatedMs: openedMs, timeoutMs: this.#timeoutMs, updates: 0 }
    )
  }

  /** A member by its lower-case name; what rules have stored comes before what is built in. */
  read(name: string): string | null {
    const stored = this.#source.store.read(this.#place, name, this.nowMs)
    if (stored !== null) return stored
    const shown = Object.hasOwn(builtIns, name) ? builtIns[name]?.(this) : null
    return shown === null || shown === undefined ? null : String(shown)
  }

  /** Every stored member, by name. */
  members(): readonly (readonly [string, string])[] {
    const flat = this.#source.store.readAll(this.#place, this.nowMs)
    const members: [string, string][] = []
    for (let at = 0; at < flat.length; at += 2) members.push([flat[at] ?? '', flat[at + 1] ?? ''])
    return members
  }

  set(name: string, value: string): void {
    this.#note(this.#source.store.set(this.#write(name), value))
  }

  add(name: string, amount: number): void {
    this.#note(this.#source.store.add(this.#write(name), amount))
  }

  remove(name: string): void {
    this.#note(this.#source.store.remove(this.#write(name)))
  }

  /** Ends the member in so many seconds. */
  expire(name: string, inSeconds: number): void {
    const write = this.#write(name)
    this.#note(this.#source.store.expire(write, write.nowMs + inSeconds * 1_000))
  }

  /** Takes the amount away for each of the intervals since the last update. */
  decay(name: string, rate: { readonly amount: number; readonly seconds: number }): void {
    const { amount, seconds: interval } = rate
    const write = this.#write(name)
    this.#note(this.#source.store.decay(write, amount, interval * 1_000, this.#seenMs))
  }

  #write(name: string): CollectionWrite {
    const timeoutMs = this.#timeoutMs
    return { key: this.#place, name, timeoutMs, nowMs: this.nowMs, first: !this.#changed }
  }

  #note(applied: boolean): void {
    if (applied) this.#changed = true
  }
}

/** The collection's name in the store. */
function placeOf({ webAppId, collection, key }: CollectionPlace): string {
  const kept =
    key.length <= keyCharactersMax
      ? key
      : `sha256 ${createHash('sha256').update(key, 'latin1').digest('hex')}`
  return `${webAppId}\n${collection}\n${kept}`
}

function seconds(milliseconds: number): number {
  return Math.trunc(milliseconds / 1_000)
}
