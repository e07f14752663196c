/**
 * Which nodes changed after which version, in memory: the newest change of each, so that what
 * happened since any version is one slice. The file has the same; this answers without asking it.
 */
import { noHash } from '../view.ts'

/** The newest change of a node. */
export interface Change {
  readonly version: number
  readonly id: string
}

export class ChangeLog {
  /** Of the entries whose changes these are; whoever changes them keeps it up. */
  hash = noHash
  /** Ascending by version. */
  readonly #changes: Change[] = []
  readonly #versions = new Map<string, number>()

  /** A node changed, later than everything before. */
  put(id: string, version: number): void {
    this.drop(id)
    this.#changes.push({ version, id })
    this.#versions.set(id, version)
  }

  /** A node is not told of any more. */
  drop(id: string): void {
    const version = this.#versions.get(id)
    if (version === undefined) return
    this.#changes.splice(this.#indexAfter(version - 1), 1)
    this.#versions.delete(id)
  }

  /** What changed after a version, the oldest change first. */
  since(version: number): readonly Change[] {
    return this.#changes.slice(this.#indexAfter(version))
  }

  countSince(version: number): number {
    return this.#changes.length - this.#indexAfter(version)
  }

  /** The version of the first change after this one; null when nothing changed. */
  firstAfter(version: number): number | null {
    return this.#changes[this.#indexAfter(version)]?.version ?? null
  }

  /** When a node changed last; zero: never. */
  changedAt(id: string): number {
    return this.#versions.get(id) ?? 0
  }

  get newest(): number {
    return this.#changes.at(-1)?.version ?? 0
  }

  /** Of the first change that is newer than a version. */
  #indexAfter(version: number): number {
    let low = 0
    let high = this.#changes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#changes[middle]?.version ?? 0) <= version) low = middle + 1
      else high = middle
    }
    return low
  }
}
