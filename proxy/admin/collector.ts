/** Gathers what the workers count and remember. Lives in the main thread. */
import type { StoredEvent } from '../events/event.ts'
import { isGauge, type Series } from '../metrics.ts'
import type { ReportRequest, WorkerReport } from '../worker-messages.ts'
import { addSeries } from './exposition.ts'

/** The pool as far as reports go. */
export interface ReportSource {
  /** Asks every live worker; how many were asked. */
  ask(request: ReportRequest): number
}

/** Where the events of reports go. */
export interface EventSink {
  add(events: readonly StoredEvent[]): void
}

/** Keeps the last report of each worker, and the sums of those that are gone. */
export class Collector {
  readonly #events: EventSink
  readonly #source: ReportSource
  readonly #deadlineMs: number
  readonly #live = new Map<number, readonly Series[]>()
  readonly #gone = new Map<string, Series>()
  #waiting: { missing: number; readonly resolve: () => void }[] = []

  constructor(source: ReportSource, events: EventSink, deadlineMs = 500) {
    this.#events = events
    this.#source = source
    this.#deadlineMs = deadlineMs
  }

  /** A report of the worker in `slot` arrived. */
  reported(slot: number, report: WorkerReport): void {
    this.#live.set(slot, report.series)
    if (report.events.length > 0) this.#events.add(report.events)
    for (const wait of this.#waiting) {
      wait.missing -= 1
      if (wait.missing <= 0) wait.resolve()
    }
  }

  /** The worker in `slot` ended; its successor begins at zero. */
  ended(slot: number): void {
    const last = this.#live.get(slot) ?? []
    addSeries(
      this.#gone,
      last.filter(({ family }) => !isGauge(family)),
    )
    this.#live.delete(slot)
  }

  /** Fresh reports, or the last known ones of workers that do not answer in time. */
  async reports(): Promise<(readonly Series[])[]> {
    await this.refresh()
    return [[...this.#gone.values()], ...this.#live.values()]
  }

  /** Asks all workers and waits for them, but never beyond the deadline. */
  async refresh(): Promise<void> {
    const missing = this.#source.ask({ kind: 'report' })
    if (missing === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const wait = { missing, resolve }
    this.#waiting.push(wait)
    const timer = setTimeout(resolve, this.#deadlineMs)
    await promise
    clearTimeout(timer)
    this.#waiting = this.#waiting.filter((other) => other !== wait)
  }
}
