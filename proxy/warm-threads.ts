/**
 * Worker threads that load their modules while the main thread still reads its rules: a start then
 * takes as long as the longer of the two, and not as both.
 */
import { Worker } from 'node:worker_threads'
import type { PoolWorker } from '../waf/pool.ts'
import type { WorkerSetup } from './worker-messages.ts'

/** The module of a WAF worker; it begins with its `workerData`, or with its first message. */
const module = new URL('./worker.ts', import.meta.url)

/** Threads without a setup yet. Those that nobody takes end with `stop`. */
export class WarmThreads {
  readonly #threads: Worker[]

  constructor(count: number) {
    this.#threads = Array.from({ length: count }, () => new Worker(module))
  }

  /** A worker that begins with `setup`: a warm one, or a new one when none is left. */
  take(setup: WorkerSetup): PoolWorker {
    const thread = this.#threads.pop()
    if (thread === undefined) return new Worker(module, { workerData: setup })
    // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
    thread.postMessage(setup)
    return thread
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.splice(0).map((thread) => thread.terminate()))
  }
}
