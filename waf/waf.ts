/**
 * The WAF as `proxy/serve.ts` sees it: one method for each moment of an exchange, a verdict from
 * each. A transaction pins the program it began with, so a new `Waf` may take over at any time.
 */
import { auditRecord } from './audit.ts'
import { runPhase } from './evaluate.ts'
import type { ExchangeFacts, OutcomeFacts, ResponseFacts } from './facts.ts'
import type { LineSink } from './log-file.ts'
import { logLine } from './log-line.ts'
import { prepare } from './prepared.ts'
import type { PreparedProgram } from './prepared.ts'
import type { Program } from './program.ts'
import type { Scanner } from './scanner.ts'
import { Transaction } from './transaction.ts'
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
}

/** What the proxy must fetch of the response for phases 3 and 4. */
export type ResponseNeed = 'none' | 'head' | 'body'

/** One compiled ruleset at work in one worker. */
export class Waf {
  readonly #program: PreparedProgram
  readonly #scanner: Scanner
  readonly #log: LineSink | null
  readonly #audit: LineSink | null

  constructor(options: WafOptions) {
    this.#program = prepare(options.program)
    this.#scanner = options.scanner
    this.#log = options.log
    this.#audit = options.audit
  }

  /** A fresh transaction; nothing is inspected yet. */
  begin(facts: ExchangeFacts, mode: WafMode): Transaction {
    return new Transaction(this.#program, this.#scanner, { facts, mode })
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
    if (transaction.wantsResponseBody(response)) return needsBody
    return this.responseBody(transaction)
  }

  /** Phase 4, over the response body that the addon holds. */
  responseBody(transaction: Transaction): Verdict {
    return this.#run(transaction, 4)
  }

  /** Phase 5 and the audit record: once per exchange, on its outcome. Decides nothing. */
  logging(transaction: Transaction, outcome: OutcomeFacts): void {
    this.#run(transaction, 5)
    if (this.#audit === null || !transaction.auditable) return
    this.#audit.write([auditRecord(transaction, outcome)])
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
