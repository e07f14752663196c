/**
 * What a worker keeps of each exchange under way, by the wire's handle for it: handles are places
 * in a slab, small numbers that are used again.
 *
 * A Map does not do here. It makes itself a new table every few dozen exchanges, each table leads
 * to the next one, and once such a dead table is old, V8 takes all that it leads to for alive until
 * its next full collection: a quarter of all that a worker allocated.
 */
export class UnderWay<Kept extends object> {
  readonly #places: (Kept | null)[] = []

  set(handle: number, kept: Kept): void {
    while (this.#places.length <= handle) this.#places.push(null)
    this.#places[handle] = kept
  }

  get(handle: number): Kept | null {
    return this.#places[handle] ?? null
  }

  /** The same, and nothing is kept there any more. */
  take(handle: number): Kept | null {
    const kept = this.get(handle)
    if (kept !== null) this.#places[handle] = null
    return kept
  }

  some(test: (kept: Kept) => boolean): boolean {
    return this.#places.some((kept) => kept !== null && test(kept))
  }
}
