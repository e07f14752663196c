/** Numbers, choices and bytes that are the same in every run with the same seed (mulberry32). */
export class Draw {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** From 0 up to, without, 1. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    const state = this.#state
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** From 0 up to, without, `bound`. */
  below(bound: number): number {
    return Math.floor(this.fraction() * bound)
  }

  /** True once in `times` draws. */
  once(times: number): boolean {
    return this.below(times) === 0
  }

  /** One of a list that is not empty. */
  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('nothing to pick from')
    return item
  }

  /** As many as said, each drawn anew. */
  several<Item>(count: number, draw: () => Item): Item[] {
    return Array.from({ length: count }, draw)
  }
}
