/** What streams are to be told, put together so that what all are told goes out once. */
import type { Teller, Telling } from './front.ts'
import type { Part } from './texts.ts'

export class Outbox {
  readonly #teller: Teller
  #shared: Buffer | null = null
  #tellings: Telling[] = []
  readonly #full = new Set<number>()

  constructor(teller: Teller) {
    this.#teller = teller
  }

  /** Each stream is told its parts in this order. */
  add(line: number, { own, shared }: Part): void {
    if (this.#shared !== shared) this.#tell()
    this.#shared = shared
    this.#tellings.push({ line, own })
  }

  /** Everything goes out; the streams that have too much to read since the last time. */
  flush(): readonly number[] {
    this.#tell()
    const full = [...this.#full]
    this.#full.clear()
    return full
  }

  #tell(): void {
    if (this.#shared === null || this.#tellings.length === 0) return
    for (const line of this.#teller.tell(this.#tellings, this.#shared)) this.#full.add(line)
    this.#tellings = []
    this.#shared = null
  }
}
