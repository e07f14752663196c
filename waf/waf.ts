/**
 * The WAF as `proxy/serve.ts` sees it: one method for each moment of an exchange, a verdict from
 * each. A transaction pins the program it began with, so a new `Waf` may take over at any time.
 */
import { auditRecord, isAuditable } from './audit.ts'
import type { CollectionSource } from './collections/open-collection.ts'
import { runPhase } from './evaluate.ts'
import { defaultEvidenceLimits } from './evidence/evidence.ts'
import type { EvidenceLimits, WafEvidence } from './evidence/evidence.ts'
import { gather, outline } from './evidence/gather.ts'
import { Redaction } from './evidence/redact.ts'
import type { ExchangeFacts, OutcomeFacts, ResponseFacts } from './facts.ts'
import type { LineSink } from './log-file.ts'
import { logLine } from './log-line.ts'
import type { Program } from './program.ts'
import type { Scanner, Witness } from './scanner.ts'
import { Transaction } from './transaction.ts'
import { TunedProgram } from './tuning/tuned-program.ts'
import { needsBody, overBudget, pass } from './verdict.ts'
import type { Verdict, WafMode } from './verdict.ts'

/** What a `Waf` is made of. `null` sinks write nothing. */
export interface WafOptions {
  readonly program: Program
  readonly scanner: Scanner
  /** One text line per matched rule that logs (`--waf-log`). */
  readonly log: LineSink | null
  /** One JSON line per transaction worth auditing. */
  readonly audit: LineSink | null
  /** Where persistent collections are kept; null: they end with their transaction. */
  readonly collections?: CollectionSource | null
  /** Absent: no evidence but ids, and no bodies in audit records. */
  readonly witness?: Witness
  /** Absent: the default names are secret. */
  readonly redaction?: Redaction
  readonly evidenceLimits?: EvidenceLimits
  /** Most bytes of a body that an audit record shows. */
  readonly auditBodyBytesMax?: number
}

const defaultAuditBodyBytesMax = 65_536

/** How a route wants an exchange inspected. */
export interface RouteInspection {
  readonly mode: WafMode
  /** Index into the program's tunings; absent: the first. */
  readonly tuning?: number
}

/** What the proxy must fetch of the response for phases 3 and 4. */
export type ResponseNeed = 'none' | 'head' | 'body'

/** One compiled ruleset at work in one worker. */
export class Waf {
  readonly #program: TunedProgram
  readonly #scanner: Scanner
  readonly #log: LineSink | null
  readonly #audit: LineSink | null
  readonly #witness: Witness | null
  readonly #redaction: Redaction
  readonly #evidenceLimits: EvidenceLimits
  readonly #auditBodyBytesMax: number
  readonly #collections: CollectionSource | null

  constructor(options: WafOptions) {
    this.#program = new TunedProgram(options.program)
    this.#scanner = options.scanner
    this.#log = options.log
    this.#audit = options.audit
    this.#witness = options.witness ?? null
    this.#redaction = options.redaction ?? new Redaction()
    this.#evidenceLimits = options.evidenceLimits ?? defaultEvidenceLimits
    this.#auditBodyBytesMax = options.auditBodyBytesMax ?? defaultAuditBodyBytesMax
    this.#collections = options.collections ?? null
  }

  /** A fresh transaction; nothing is inspected yet. */
  begin(facts: ExchangeFacts, { mode, tuning = 0 }: RouteInspection): Transaction {
    const path = facts.path ?? facts.uri.split('?', 1)[0] ?? ''
    const request = { method: facts.method, path }
    const { program, exclusions } = this.#program.begin(tuning, request)
    return new Transaction(program, this.#scanner, {
      facts,
      mode,
      exclusions,
      collections: this.#collections,
    })
  }

  /**
   * Phase 1. With a body to wait for: `needs-body`, then the proxy calls `requestBody` (at once
   * when it streams the body uninspected). Without one, phase 2 runs here as well.
   */
  requestHead(transaction: Transaction): Verdict {
    const verdict = this.#run(transaction, 1)
    if (verdict.action !== 'pass' || !transaction.active) return verdict
    if (transaction.facts.hasBody && transaction.requestBodyAccess) return needsBody
    return this.requestBody(transaction)
  }

  /**
   * `SecRequestBodyLimit` with the action Reject: a longer body is refused. As in ModSecurity the
   * engine only reads its beginning when it does nothing but detect.
   */
  requestBodyBytesMax(transaction: Transaction): number {
    const { settings } = transaction.program
    const rejects = settings.requestBodyLimitAction === 'reject' && transaction.engine === 'on'
    return rejects ? settings.requestBodyLimitBytes : Infinity
  }

  /** Phase 2, over the body that the addon holds. */
  requestBody(transaction: Transaction): Verdict {
    const verdict = this.#run(transaction, 2)
    if (verdict.action !== 'pass' || transaction.program.readsResponse) return verdict
    // Nothing in phases 3 and 4 reads the response: the same rules give the same answer now, and
    // the exchange is spared a crossing.
    const response = this.#run(transaction, 3)
    return response.action === 'pass' ? this.#run(transaction, 4) : response
  }

  /** What to ask the wire for when forwarding. */
  responseNeed(transaction: Transaction): ResponseNeed {
    if (!transaction.active || !transaction.program.readsResponse) return 'none'
    return transaction.responseBodyAccess ? 'body' : 'head'
  }

  /** Phase 3; `needs-body` when phase 4 waits for this response's body. */
  responseHead(transaction: Transaction, response: ResponseFacts): Verdict {
    transaction.response = response
    const verdict = this.#run(transaction, 3)
    if (verdict.action !== 'pass' || !transaction.active) return verdict
    return transaction.wantsResponseBody(response) ? needsBody : this.#run(transaction, 4)
  }

  /** `SecResponseBodyLimitAction Reject`, unless the engine only detects. */
  rejectsLongResponse({ program, engine }: Transaction): boolean {
    return program.settings.responseBodyLimitAction === 'reject' && engine === 'on'
  }

  /** Phase 4, over the response body that the addon holds. */
  responseBody(transaction: Transaction): Verdict {
    transaction.scanner.showResponseBody(transaction.facts.handle)
    return this.#run(transaction, 4)
  }

  /** Phase 5 and the audit record: once per exchange, on its outcome. Decides nothing. */
  logging(transaction: Transaction, outcome: OutcomeFacts): void {
    this.#run(transaction, 5)
    if (this.#audit === null || !isAuditable(transaction, outcome)) return
    const witness = this.#witness
    const redaction = this.#redaction
    const bodyBytesMax = this.#auditBodyBytesMax
    this.#audit.write([auditRecord(transaction, outcome, { witness, redaction, bodyBytesMax })])
  }

  /** Why, in full or in outline; while the addon still holds the exchange. */
  evidence(transaction: Transaction, isFull: boolean): WafEvidence {
    if (this.#witness === null || !isFull) return outline(transaction)
    return gather(transaction, {
      witness: this.#witness,
      redaction: this.#redaction,
      limits: this.#evidenceLimits,
    })
  }

  #run(transaction: Transaction, phase: number): Verdict {
    const before = transaction.matched.length
    const result = runPhase(transaction, phase)
    this.#writeLog(transaction, before)
    if (result === 'over-budget') return overBudget
    return result ?? pass
  }

  #writeLog(transaction: Transaction, from: number): void {
    if (this.#log === null || transaction.matched.length === from) return
    const lines: string[] = []
    for (const match of transaction.matched.slice(from)) {
      if (match.rule.log) lines.push(logLine(match, transaction.facts))
    }
    if (lines.length > 0) this.#log.write(lines)
  }
}
