/** Which workers still have exchanges of a generation that a reload replaced. */
export class GenerationUsers {
  readonly #slots = new Map<number, Set<number>>()
  readonly #onRetired: (generation: number) => void

  /** `onRetired` is told once for each generation, when nobody uses it any more. */
  constructor(onRetired: (generation: number) => void) {
    this.#onRetired = onRetired
  }

  /** A generation was replaced while these workers ran. */
  replaced(generation: number, slots: readonly number[]): void {
    this.#slots.set(generation, new Set(slots))
    this.#look(generation)
  }

  /** The worker has no exchange of that generation left. */
  released(slot: number, generation: number): void {
    this.#slots.get(generation)?.delete(slot)
    this.#look(generation)
  }

  /** The worker ended; its exchanges begin anew in others, under the newest generation. */
  ended(slot: number): void {
    for (const [generation, slots] of this.#slots) {
      slots.delete(slot)
      this.#look(generation)
    }
  }

  #look(generation: number): void {
    if (this.#slots.get(generation)?.size !== 0) return
    this.#slots.delete(generation)
    this.#onRetired(generation)
  }
}
