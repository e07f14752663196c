/** Rounds of a worker with the wire: all that waits is taken at once and answered at once. */
import { type Received, readBatch } from './batch.ts'
import { PlanWriter } from './plan.ts'
import type { KnownHeaders } from './request.ts'
import type { WorkerPort } from './wire.ts'

const initialBytes = 256 * 1024

/** One worker's side of the wire's queue. */
export class Rounds {
  /** What is written here is the answer to the round under way. */
  readonly plans = new PlanWriter()
  readonly #port: Pick<WorkerPort, 'take' | 'answer'>
  readonly #known: KnownHeaders
  #buffer = Buffer.from(new ArrayBuffer(initialBytes))

  constructor(port: Pick<WorkerPort, 'take' | 'answer'>, known: KnownHeaders) {
    this.#port = port
    this.#known = known
  }

  /** Runs until the wire has nothing more; each round ends with one answer. */
  run(receive: (received: Received) => void): void {
    for (let length = this.#take(); length > 0; length = this.#take()) {
      for (const received of readBatch(this.#buffer, length, this.#known)) receive(received)
      if (this.plans.length === 0) continue
      this.#port.answer(this.plans.bytes, this.plans.length)
      this.plans.clear()
    }
  }

  #take(): number {
    const length = this.#port.take(this.#buffer)
    if (length >= 0) return length
    // The wire says how much it needs; the exchanges in it stay where they are until then.
    this.#buffer = Buffer.from(new ArrayBuffer(Math.max(-length, 2 * this.#buffer.length)))
    return this.#port.take(this.#buffer)
  }
}
