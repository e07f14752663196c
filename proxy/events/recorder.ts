/**
 * A worker's end of the event store: decides which exchanges are kept, and holds them until the
 * next report. Never waits: what is too much is counted and lost.
 */
import type { WafEvidence } from '../../waf/evidence/evidence.ts'
import { Redaction } from '../../waf/evidence/redact.ts'
import type { AccessEntry } from '../access-log.ts'
import type { EventsConfig } from '../config/events-schema.ts'
import { EvidenceQuota } from './evidence-quota.ts'
import type { StoredEvent } from './event.ts'
import { eventJson } from './event-json.ts'

/** The settings that the recorder follows. */
type Limits = Pick<
  EventsConfig,
  'keep' | 'queueMax' | 'evidencePerSecondMax' | 'eventBytesMax' | 'redact'
>

/** Tells why, in full or in outline; null when the WAF was not asked. */
export type Explain = ((isFull: boolean) => WafEvidence) | null

/** The events of one worker. */
export class EventRecorder {
  readonly #limits: Limits
  readonly #quota: EvidenceQuota
  readonly #redaction: Redaction
  #events: StoredEvent[] = []
  /** Lost, or kept without evidence, so far. */
  readonly lost = { queue: 0, evidence: 0 }

  constructor(limits: Limits, clock: () => number) {
    this.#limits = limits
    this.#quota = new EvidenceQuota(limits.evidencePerSecondMax, clock)
    this.#redaction = new Redaction(limits.redact)
  }

  /** Keeps the exchange if it is worth it; `explain` only runs then. */
  record(entry: AccessEntry, explain: Explain): void {
    if (!this.#isKept(entry)) return
    if (this.#events.length >= this.#limits.queueMax) {
      this.lost.queue += 1
      return
    }
    const hasMatches = (entry.waf?.rules.length ?? 0) > 0
    const evidence = hasMatches && explain !== null ? explain(this.#mayTell()) : null
    const shown = { ...entry, query: this.#redaction.text(entry.query) }
    this.#events.push({
      requestId: entry.requestId,
      timeMs: entry.timeMs,
      path: entry.path,
      blocked: entry.waf !== null && stops.has(entry.waf.verdict),
      rules: entry.waf?.rules ?? [],
      json: eventJson(shown, evidence, this.#limits.eventBytesMax),
    })
  }

  /** What was kept since the last call. */
  take(): StoredEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }

  #isKept({ error, waf }: AccessEntry): boolean {
    if (error !== null || (waf !== null && waf.verdict !== 'pass')) return true
    return this.#limits.keep === 'matched' && waf !== null && waf.rules.length > 0
  }

  #mayTell(): boolean {
    const may = this.#quota.take()
    if (!may) this.lost.evidence += 1
    return may
  }
}

const stops: ReadonlySet<string> = new Set(['deny', 'redirect', 'failed'])
