/** One turn of the service's worker: take what proxies ask, reason as a proxy's worker would. */
import type { Waf } from '../../waf/waf.ts'
import type { Transaction } from '../../waf/transaction.ts'
import type { Verdict } from '../../waf/verdict.ts'
import type { Received } from '../batch.ts'
import type { EventsConfig } from '../config/events-schema.ts'
import { type ErrorCode, errorCodes } from '../errors.ts'
import { Exchange, factsOf } from '../exchange.ts'
import { EvidenceQuota } from '../events/evidence-quota.ts'
import { type Plan, type ResponseHold, donePlan } from '../plan.ts'
import type { KnownHeaders, RequestHead } from '../request.ts'
import { Rounds } from '../rounds.ts'
import { UnderWay } from '../under-way.ts'
import type { WorkerPort } from '../wire.ts'
import { type Answer, type Question, type Told, asciiJson, readQuestion } from './protocol.ts'

/** Rules that questions are about. */
export interface AnsweringRules {
  readonly generation: number
  readonly waf: Waf
  /** Index of each tuning by the name that proxies call it. */
  readonly variants: ReadonlyMap<string, number>
  readonly hold: ResponseHold
}

/** What it works with; `clock` makes time an argument. */
export interface AnsweringOptions {
  readonly port: Pick<WorkerPort, 'take' | 'answer'>
  readonly known: KnownHeaders
  readonly rules: AnsweringRules
  /** Where each `waf` writes the lines of its logs, which go back to the proxy. */
  readonly lines: { readonly log: LineBox; readonly audit: LineBox | null }
  readonly events: EventsConfig
  readonly answerBytesMax: number
  /** Milliseconds that only grow. */
  readonly clock: () => number
  readonly onHead: (request: RequestHead) => void
  /** No question is about the rules of that generation any more. */
  readonly onReleased: (generation: number) => void
  readonly onFailure: (error: unknown, requestId: string) => void
}

/** Takes the lines of one call. */
export class LineBox {
  #lines: string[] = []

  write(lines: readonly string[]): void {
    this.#lines.push(...lines)
  }

  take(): readonly string[] {
    const lines = this.#lines
    this.#lines = []
    return lines
  }
}

interface Known {
  readonly rules: AnsweringRules
  readonly question: Question
  readonly transaction: Transaction
}

type Moment = Exclude<Received, { kind: 'refusal' | 'question' | 'verdict' | 'outcome' | 'head' }>

/** The exchanges of one worker. */
export class Answering {
  readonly #options: AnsweringOptions
  readonly #exchanges = new UnderWay<Known>()
  readonly #rounds: Rounds
  readonly #quota: EvidenceQuota
  #question: string | null = null
  /** The newest first; proxies that have not reloaded yet still ask about those before. */
  #rules: readonly AnsweringRules[]

  constructor(options: AnsweringOptions) {
    this.#options = options
    this.#rules = [options.rules]
    this.#rounds = new Rounds(options.port, options.known)
    this.#quota = new EvidenceQuota(options.events.evidencePerSecondMax, options.clock)
  }

  /** Runs until the wire has nothing more. */
  run(): void {
    this.#rounds.run((received) => this.#receive(received))
  }

  /** From now on questions may be about these rules, too. */
  take(rules: AnsweringRules): void {
    this.#rules = [rules, ...this.#rules]
  }

  /** Takes no question about the rules of that generation any more. */
  forget(generation: number): void {
    const old = this.#rules.find((rules) => rules.generation === generation)
    if (old === undefined) return
    this.#rules = this.#rules.filter((rules) => rules !== old)
    this.#release(old)
  }

  #release(old: AnsweringRules): void {
    if (this.#rules.includes(old)) return
    const isUsed = this.#exchanges.some(({ rules }) => rules === old)
    if (!isUsed) this.#options.onReleased(old.generation)
  }

  #receive(received: Received): void {
    switch (received.kind) {
      case 'question':
        this.#question = received.text
        return
      case 'head':
        return this.#head(received.id, received.head)
      case 'outcome':
        return this.#outcome(received.id)
      case 'refusal':
      case 'verdict':
        return
      case 'body':
      case 'response':
      case 'response-body':
      case 'end': {
        const known = this.#exchanges.get(received.id)
        if (known !== null) this.#answer(received.id, known, () => this.#step(known, received))
      }
    }
  }

  #outcome(id: number): void {
    const known = this.#exchanges.take(id)
    this.#rounds.plans.write(id, donePlan)
    if (known !== null) this.#release(known.rules)
  }

  #head(id: number, request: RequestHead): void {
    const { onHead } = this.#options
    const text = this.#question
    this.#question = null
    // Of an orphan only the outcome is left, which tells nothing here.
    if (text === null || request.orphan) return
    onHead(request)
    let asker = ''
    try {
      const question = readQuestion(text)
      const { requestId, clientAddress, timeMs, route, hasBody, mode } = question
      asker = requestId
      const rules = this.#rules.find(({ variants }) => variants.has(question.variant))
      const tuning = rules?.variants.get(question.variant)
      if (rules === undefined || tuning === undefined) return this.#refuse(id, 'WAF_RULES_UNKNOWN')
      const { waf } = rules
      const exchange = new Exchange({ id, request, requestId, clientAddress, timeMs })
      const transaction = waf.begin(factsOf(exchange, hasBody, route), { mode, tuning })
      const known = { rules, question, transaction }
      this.#exchanges.set(id, known)
      this.#answer(id, known, () => waf.requestHead(transaction))
    } catch (error) {
      this.#fail(id, asker, error)
    }
  }

  #step({ rules: { waf }, transaction }: Known, received: Moment): Verdict | null {
    switch (received.kind) {
      case 'body':
        return waf.requestBody(transaction)
      case 'response': {
        const verdict = waf.responseHead(transaction, received)
        if (verdict.action !== 'needs-body') return verdict
        // What is longer than the rules let through is the proxy's to refuse.
        const { body } = received
        const isShown =
          body === 'whole' || (body === 'beginning' && !waf.rejectsLongResponse(transaction))
        return isShown ? waf.responseBody(transaction) : verdict
      }
      case 'response-body':
        return waf.responseBody(transaction)
      case 'end':
        waf.logging(transaction, { status: received.status })
        return null
    }
  }

  #answer(id: number, known: Known, decide: () => Verdict | null): void {
    const { rules, transaction, question } = known
    try {
      const verdict = decide()
      const isLast = verdict === null || this.#isDecided(known, verdict)
      if (verdict !== null && isLast) conclude(rules.waf, transaction, verdict)
      const wantsBody = verdict?.action === 'needs-body' && transaction.response === null
      const answer = this.#written(known, verdict ?? { action: 'pass' }, isLast)
      this.#rounds.plans.write(id, { kind: 'verdict', isLast, wantsBody, answer })
    } catch (error) {
      this.#fail(id, question.requestId, error)
    }
  }

  /** Whether nothing more is to come but the outcome, and nothing here depends on that. */
  #isDecided({ rules: { waf }, transaction }: Known, { action }: Verdict): boolean {
    const { lines } = this.#options
    if (action === 'needs-body') return false
    if (action !== 'pass' || transaction.response !== null) return true
    if (waf.responseNeed(transaction) !== 'none') return false
    return lines.audit === null || transaction.auditEngine === 'off'
  }

  #written(known: Known, verdict: Verdict, isLast: boolean): string {
    const { lines, answerBytesMax } = this.#options
    const { rules, transaction } = known
    const { waf, hold } = rules
    const responseNeed = isLast ? 'none' : waf.responseNeed(transaction)
    const rejectsLonger = waf.rejectsLongResponse(transaction)
    const told = this.#told(known, verdict, isLast)
    const bodyBytesMax = waf.requestBodyBytesMax(transaction)
    const answer: Answer = {
      verdict,
      bodyBytesMax: Number.isFinite(bodyBytesMax) ? bodyBytesMax : null,
      responseNeed,
      hold: responseNeed === 'body' ? { ...hold, rejectsLonger } : null,
      told,
      log: lines.log.take(),
      audit: lines.audit?.take() ?? [],
    }
    const text = asciiJson(answer)
    if (text.length <= answerBytesMax || told === null) return text
    // What was decided counts for more than why.
    return asciiJson({ ...answer, told: { ...told, evidence: null }, audit: [] })
  }

  #told({ rules: { waf }, transaction }: Known, verdict: Verdict, isLast: boolean): Told | null {
    const { events } = this.#options
    if (transaction.matched.length === 0) return null
    const isKept =
      events.keep === 'matched' ||
      transaction.interruption !== null ||
      verdict.action === 'failed' ||
      transaction.mode === 'detect'
    const evidence = isLast && isKept ? waf.evidence(transaction, this.#quota.take()) : null
    return { score: transaction.scores.inbound, rules: transaction.matchedIds, evidence }
  }

  #fail(id: number, requestId: string, error: unknown): void {
    const { lines, onFailure } = this.#options
    onFailure(error, requestId)
    lines.log.take()
    lines.audit?.take()
    this.#refuse(id, 'WAF_UNAVAILABLE')
  }

  #refuse(id: number, code: ErrorCode): void {
    this.#rounds.plans.write(id, { kind: 'refuse', error: errorCodes.indexOf(code) } satisfies Plan)
  }
}

/** Phase 5 at once: the status is known, or nobody asks for it. */
function conclude(waf: Waf, transaction: Transaction, verdict: Verdict): void {
  const status = 'status' in verdict ? verdict.status : (transaction.response?.status ?? 0)
  waf.logging(transaction, { status })
}
