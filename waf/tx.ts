/**
 * TX of one transaction: what the start of the rules has set, which all transactions share, under
 * what this one has written. Most requests write next to nothing, so nothing is copied for them.
 */

/** Says whether a member of this name is meant. */
export type NameTest = (name: string) => boolean

/** Groups of a match that nobody has asked for yet; null when there was no match after all. */
export type LateGroups = () => readonly (string | null)[] | null

const captures = '0123456789'.split('')

/** True when a capture is among the members that are meant. */
export function meansCapture(isMeant: NameTest): boolean {
  return captures.some(isMeant)
}

const empty: ReadonlyMap<string, string> = new Map()

/** Members by lower-case name, in the order in which they were first set. */
export class Tx implements Iterable<readonly [string, string]> {
  #start: ReadonlyMap<string, string>
  /** Written since the start; null until the first difference. */
  #own: Map<string, string> | null = null
  /** True while `#own` belongs to others as well. */
  #isShared = false
  /** Group 0 of a match that is looked for only when somebody reads it. */
  #late: LateGroups | null = null

  constructor(start: ReadonlyMap<string, string>) {
    this.#start = start
  }

  get(key: string): string | undefined {
    if (this.#late !== null && key === '0') this.#settle()
    if (this.#own === null) return this.#start.get(key)
    const own = this.#own.get(key)
    return own === undefined ? this.#start.get(key) : own
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  set(key: string, value: string): void {
    if (key === '0') this.#late = null
    const own = this.#own
    // A member that is set to what it is stays as shared as it was.
    if (own?.has(key) !== true && this.#start.get(key) === value) return
    this.#writable().set(key, value)
  }

  delete(key: string): void {
    if (key === '0') this.#late = null
    if (this.get(key) === undefined) return
    const left = new Map(this)
    left.delete(key)
    this.#start = empty
    this.#own = left
    this.#isShared = false
  }

  /** Groups 0–9 of a match; under the number of one that it lacks, what was there stays. */
  capture(groups: readonly (string | null)[]): void {
    for (let index = 0; index < groups.length && index < 10; index += 1) {
      const group = groups[index] ?? null
      if (group !== null) this.set(String(index), group)
    }
  }

  /** The same for a match that has a group 0 only, which costs a crossing and is seldom read. */
  captureLate(groups: LateGroups): void {
    const before = this.#late
    this.#late = before === null ? groups : () => groups() ?? before()
  }

  /** Begins anew, as if all of `members` had been set. */
  restart(members: ReadonlyMap<string, string>): void {
    this.#start = members
    this.#own = null
    this.#isShared = false
    this.#late = null
  }

  /** True when some member that was written since the start is meant. */
  differs(isMeant: NameTest): boolean {
    if (this.#own === null) return false
    for (const key of this.#own.keys()) if (isMeant(key)) return true
    return false
  }

  /** Sets all of `members`, which nobody may change any more: other transactions share them. */
  share(members: Map<string, string>): void {
    if (members.size === 0) return
    if (this.#own !== null) {
      for (const [key, value] of members) this.set(key, value)
      return
    }
    this.#own = members
    this.#isShared = true
  }

  /** The members that were there at the start; for what is to be found out about them only once. */
  get start(): ReadonlyMap<string, string> {
    return this.#start
  }

  /** Calls `take` for each member written since the start that it did not have. */
  forEachAdded(take: (key: string, value: string) => void): void {
    this.#own?.forEach((value, key) => {
      if (!this.#start.has(key)) take(key, value)
    })
  }

  *[Symbol.iterator](): IterableIterator<[string, string]> {
    if (this.#late !== null) this.#settle()
    for (const [key, value] of this.#start) yield [key, this.#own?.get(key) ?? value]
    const added: [string, string][] = []
    this.forEachAdded((key, value) => added.push([key, value]))
    yield* added
  }

  #settle(): void {
    const late = this.#late
    this.#late = null
    const group = late?.()?.[0] ?? null
    if (group !== null) this.set('0', group)
  }

  #writable(): Map<string, string> {
    this.#own = this.#own === null ? new Map() : this.#isShared ? new Map(this.#own) : this.#own
    this.#isShared = false
    return this.#own
  }
}
