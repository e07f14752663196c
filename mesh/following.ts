/**
 * Follows the coordinator's stream, again and again: keeps the table of nodes, hands each new one
 * to whom it concerns, and reports what was applied. What it knows stays while nobody answers.
 */
import { reasonOf } from '../waf/reason-of.ts'
import type { CoordinatorClient, StreamEvent } from './client.ts'
import type { Report } from './entry.ts'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { pause, retryMs } from './retry.ts'
import { emptyView, type View, viewOf, withDelta } from './view.ts'

/** What a follower stands on. */
export interface FollowerParts {
  readonly client: CoordinatorClient
  readonly self: { readonly id: string; readonly name: string }
  readonly url: string
  readonly log: Log
  /** What is known already. */
  readonly view: View
  /** Makes the device what a view says. */
  readonly apply: (view: View) => Promise<void>
  /** `withDelta`; many agents of one program may keep equal tables once. */
  readonly advance?: typeof withDelta
  /** What it has to say to the coordinator after that. */
  readonly announce: () => Promise<void>
  /** The coordinator does not know this node: what can be done about it. */
  readonly joinAgain?: () => Promise<void>
  /** More for a report: what the device counts. */
  readonly observe?: () => Promise<Pick<Report, 'peers'>>
}

export class Follower {
  readonly #parts: FollowerParts
  /** What was applied, and what the next changes are to begin from: the same, mostly. */
  #view: View
  #base: View
  #isConnected = false
  /** In large fleets the coordinator asks its agents to spread what they all do at once. */
  #spreadMs = 0
  #reporting: NodeJS.Timeout | null = null
  #signal = AbortSignal.abort()

  constructor(parts: FollowerParts) {
    this.#parts = parts
    this.#view = parts.view
    this.#base = parts.view
  }

  get view(): View {
    return this.#view
  }

  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Until the signal; fails when the node was removed from the mesh, or the device is gone. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0
    let brief = 0
    this.#signal = signal
    signal.addEventListener('abort', () => this.#forgetReport(), { once: true })
    while (!signal.aborted) {
      const beganMs = performance.now()
      try {
        for await (const event of this.#parts.client.watch(this.#base, signal)) {
          failures = 0
          await this.#take(event)
        }
      } catch (error) {
        if (error instanceof MeshFault && isFinal(error)) throw error
        if (!signal.aborted) this.#tellAway(error)
        await this.#joinAgain(error)
      }
      const isBrief = performance.now() - beganMs < meshLimits.briefStreamMs
      brief = this.#isConnected && isBrief ? brief + 1 : 0
      if (brief >= meshLimits.briefStreamsMax) this.#tellBrief()
      this.#isConnected = false
      failures = Math.max(failures, brief) + 1
      await pause(retryMs(failures, this.#spreadMs), signal)
    }
  }

  async #joinAgain(error: unknown): Promise<void> {
    if (!(error instanceof MeshFault) || error.code !== 'NODE_UNKNOWN') return
    try {
      await this.#parts.joinAgain?.()
    } catch (refusal) {
      this.#tellAway(refusal)
    }
  }

  /** A machine that was copied with its folder: each takes the stream of the other. */
  #tellBrief(): void {
    const mend = 'see that no other machine has a copy of this folder, and the coordinator stays up'
    const fields = { coordinator: this.#parts.url, mend }
    this.#parts.log.warn(fields, 'the stream of the coordinator ends again and again')
  }

  #tellAway(error: unknown): void {
    const mend = error instanceof MeshFault ? { mend: error.mend } : {}
    const fields = { coordinator: this.#parts.url, reason: reasonOf(error), ...mend }
    this.#parts.log.warn(fields, 'the coordinator is away or refuses; the mesh stays as it is')
  }

  async #take(event: StreamEvent): Promise<void> {
    if (event.kind === 'hello') {
      this.#spread(event.spreadMs)
      if (this.#isConnected) return // only the fleet is of another size now
      this.#isConnected = true
      this.#parts.log.info({ coordinator: this.#parts.url }, 'connected to the coordinator')
      // Where nothing changed meanwhile no event follows.
      if (this.#view !== emptyView) await this.#report()
      await this.#announce()
      return
    }
    this.#base = this.#changed(event)
    // Half a table must not take anything away: its rest follows at once.
    if (event.kind === 'snapshot' && event.snapshot.isPart === true) return
    await this.#parts.apply(this.#base)
    this.#view = this.#base
    await this.#report()
    await this.#announce()
  }

  /** A refusal must not keep this node from what the stream has to tell. */
  async #announce(): Promise<void> {
    try {
      await this.#parts.announce()
    } catch (error) {
      if (!(error instanceof MeshFault)) throw error
      // A newer record than the one that is known here: it comes, and then this is called again.
      if (error.code !== 'RECORD_OLD') this.#tellRefused(error)
    }
  }

  #tellRefused({ where, message, mend }: MeshFault): void {
    const fields = { coordinator: this.#parts.url, where, reason: message, mend }
    this.#parts.log.warn(fields, 'the coordinator refuses what this node says of itself')
  }

  /** A report that waits was timed for a fleet of another size. */
  #spread(spreadMs: number): void {
    const before = this.#spreadMs
    this.#spreadMs = Math.min(spreadMs, meshLimits.spreadMsMax)
    if (this.#reporting === null || this.#spreadMs <= before) return
    this.#forgetReport()
    this.#reportWithin(Math.random() * this.#periodMs)
  }

  #changed(event: Exclude<StreamEvent, { kind: 'hello' }>): View {
    if (event.kind === 'snapshot') return viewOf(event.snapshot)
    const { advance = withDelta } = this.#parts
    const { id, name } = this.#parts.self
    if (event.delta.remove.includes(id)) throw removed(name)
    const next = advance(this.#base, event.delta)
    if (next !== null) return next
    this.#base = emptyView // the next attempt begins anew; the device stays as it is until then
    throw new Error('the changes do not fit what is known here')
  }

  /** At once in a small mesh, where a new node waits for it; in a large one now and then. */
  async #report(): Promise<void> {
    if (this.#spreadMs === 0) return this.#send()
    // The one that is due tells of this change as well: or each would bring all agents' forward.
    if (this.#reporting === null) this.#reportWithin(Math.random() * this.#periodMs)
  }

  get #periodMs(): number {
    const { reportIntervalMs, reportSpreads } = meshLimits
    return Math.max(reportIntervalMs, this.#spreadMs * reportSpreads)
  }

  #reportWithin(ms: number): void {
    this.#reporting = setTimeout(() => {
      // The stream says when the coordinator is away; there will be another report.
      this.#send().catch(() => undefined)
    }, ms)
    this.#reporting.unref()
  }

  async #send(): Promise<void> {
    const { client, observe } = this.#parts
    this.#forgetReport()
    if (!this.#signal.aborted) this.#reportWithin(this.#periodMs * (0.5 + Math.random() / 2))
    const counts = this.#isConnected ? await observe?.() : undefined
    await client.report({ applied: this.#view.version, ...counts })
  }

  #forgetReport(): void {
    if (this.#reporting !== null) clearTimeout(this.#reporting)
    this.#reporting = null
  }
}

function removed(name: string): MeshFault {
  return new MeshFault('NODE_REMOVED', {
    where: name,
    message: 'this node was removed from the mesh',
    mend: 'to be in it again: empty the folder of state and join with a new token',
  })
}

/** Faults that no waiting mends. A coordinator that forgot us may remember again. */
function isFinal({ code }: MeshFault): boolean {
  return ['NODE_REMOVED', 'INTERFACE_GONE'].includes(code)
}
