/**
 * The engine without a server: rules in, one request after the other, verdicts out. Everything but
 * the sockets is what production runs: the same compiler, facade, scanner and native inspection.
 */
import type {
  OfflinePort,
  ReadLimits,
  ReadRefusal,
  ReadRequest,
} from '../../native/addon/index.d.ts'
import { compile, defaultCompileLimits } from '../compile/compile.ts'
import type { ExchangeFacts } from '../facts.ts'
import type { LineSink } from '../log-file.ts'
import type { MatchedRule } from '../matched-rule.ts'
import type { Program } from '../program.ts'
import {
  AddonScanner,
  compileScanPlan,
  createOfflinePort,
  dropPlans,
  openCollectionStore,
  readFields,
  readRequest,
} from '../scanner.ts'
import { loadRuleset } from '../seclang/load.ts'
import type { RulesetOptions } from '../seclang/load.ts'
import { parseSecLang } from '../seclang/parser.ts'
import type { SecLangInput } from '../seclang/parser.ts'
import type { Transaction } from '../transaction.ts'
import { pass } from '../verdict.ts'
import type { Verdict, WafMode } from '../verdict.ts'
import { Waf } from '../waf.ts'

/** Field lines in wire order, names as received. */
export type Headers = readonly (readonly [string, string])[]

/** A request; texts are Latin-1, one character per byte. */
export interface OfflineRequest {
  readonly method: string
  /** As received: `/a?b`. */
  readonly target: string
  /** `HTTP/1.1` when it is left out; `HTTP/2.0`, `HTTP/3.0`. */
  readonly protocol?: string
  readonly headers: Headers
  /** Null: there is none that the WAF waits for. `incomplete`: it never comes to its end. */
  readonly body?: Uint8Array | 'incomplete' | null
  /** Canonical authority; the value of Host when it is left out. */
  readonly hostname?: string
  readonly peer?: string
  readonly peerPort?: number
  readonly local?: string
  readonly localPort?: number
  readonly timeMs?: number
  readonly uniqueId?: string
}

/** What a backend answers. */
export interface OfflineResponse {
  readonly status: number
  readonly headers: Headers
  readonly body?: Uint8Array | null
}

/** What came of one exchange. */
export interface Inspected {
  /** `needs-body` when the body never came to its end: phase 2 did not run. */
  readonly verdict: Verdict
  /** In order, those of all phases. */
  readonly matched: readonly MatchedRule[]
  /** TX at the end, keys in lower case. */
  readonly tx: ReadonlyMap<string, string>
  readonly transaction: Transaction
}

/** The same of raw bytes, which may be no request at all. */
export type RawInspected =
  | { readonly kind: 'refused'; readonly refusal: ReadRefusal }
  | {
      readonly kind: 'inspected'
      readonly request: RawRequest
      readonly bodyRefusal: ReadRefusal | null
      readonly inspected: Inspected
    }

/** A request that was read from bytes. */
export interface RawRequest extends OfflineRequest {
  readonly headers: Headers
  /** The body as it was read, whether the WAF waited for it or not. */
  readonly content: Uint8Array
  readonly hasBody: boolean
  /** Content doubts, as in the wire's records. */
  readonly doubts: number
}

/** A request as HTTP/2 and HTTP/3 carry it. */
export interface FieldRequest {
  readonly http3: boolean
  /** Pseudo-fields first. */
  readonly fields: Headers
  readonly body: Uint8Array
}

/** How an engine is to work; what is left out is as `edge run` has it. */
export interface EngineOptions {
  readonly mode?: WafMode
  /** Which of the program's tunings; default: the first. */
  readonly tuning?: number
  readonly scanBudgetMs?: number
  /** One text line per matched rule that logs. */
  readonly log?: LineSink | null
  readonly audit?: LineSink | null
  readonly readLimits?: ReadLimits
  /** Whether the WAF waits for the body of a request that has one; default: always. */
  readonly waitsForBody?: (request: OfflineRequest) => boolean
}

/** As the limits of `edge run` are by default. */
export const defaultReadLimits: ReadLimits = {
  headBytesMax: 32 * 1024,
  lineBytesMax: 8 * 1024,
  headerCountMax: 100,
}

/**
 * Compiles rules, from files or from texts, and makes an engine of them. Throws a `SecLangError`
 * with every fault of the rules. `close` gives the compiled plan back.
 */
export function createEngine(
  source: RulesetOptions | readonly SecLangInput[],
  options: EngineOptions = {},
): OfflineEngine {
  const ruleset = isTexts(source) ? parseSecLang(source) : loadRuleset(source)
  const scanBudgetMs = options.scanBudgetMs ?? defaultCompileLimits.scanBudgetMs
  const limits = { ...defaultCompileLimits, scanBudgetMs }
  return new OfflineEngine(compile(ruleset, compileScanPlan, limits), options)
}

function isTexts(
  source: RulesetOptions | readonly SecLangInput[],
): source is readonly SecLangInput[] {
  return Array.isArray(source)
}

/** One compiled ruleset, and the requests that are put to it one by one. */
export class OfflineEngine {
  readonly program: Program
  readonly #options: EngineOptions
  readonly #port: OfflinePort = createOfflinePort()
  readonly #waf: Waf
  #count = 0
  #nowMs = 0

  constructor(program: Program, options: EngineOptions = {}) {
    this.program = program
    this.#options = options
    this.#waf = new Waf({
      program,
      scanner: new AddonScanner(this.#port),
      log: options.log ?? null,
      audit: options.audit ?? null,
      // Of its own, on the clock of the requests: a log of yesterday expires as it did then.
      collections: { store: openCollectionStore('own'), now: () => this.#nowMs },
    })
  }

  /** The life of one exchange, all phases; with a response those that look at it, too. */
  inspect(request: OfflineRequest, response: OfflineResponse | null = null): Inspected {
    this.#nowMs = request.timeMs ?? Date.now()
    const handle = this.#begin(request)
    try {
      const facts = factsOf(handle, request, `offline-${this.#count}`)
      const { mode = 'block', tuning = 0 } = this.#options
      const transaction = this.#waf.begin(facts, { mode, tuning })
      let verdict = this.#inspectRequest(transaction, request)
      if (response !== null && verdict.action === 'pass') {
        verdict = this.#inspectResponse(transaction, response)
      }
      this.#waf.logging(transaction, { status: statusOf(verdict, response) })
      return { verdict, matched: transaction.matched, tx: new Map(transaction.tx), transaction }
    } finally {
      this.#port.end(handle)
    }
  }

  /** Reads an HTTP/1.x request from its bytes; `respond` makes the response, if there is one. */
  inspectRaw(
    raw: Uint8Array,
    from: Pick<OfflineRequest, 'peer' | 'peerPort' | 'local' | 'localPort'> = {},
    respond: (request: RawRequest) => OfflineResponse | null = () => null,
  ): RawInspected {
    return this.#inspectRead(readRequest(raw, this.#readLimits), from, respond)
  }

  /** Reads a request of HTTP/2 or HTTP/3 from its fields, pseudo-fields first. */
  inspectFields(
    { http3, fields, body }: FieldRequest,
    from: Pick<OfflineRequest, 'peer' | 'peerPort' | 'local' | 'localPort'> = {},
    respond: (request: RawRequest) => OfflineResponse | null = () => null,
  ): RawInspected {
    const pairs = fields.map(([name, value]): [string, string] => [name, value])
    return this.#inspectRead(readFields(http3, pairs, body, this.#readLimits), from, respond)
  }

  get #readLimits(): ReadLimits {
    return this.#options.readLimits ?? defaultReadLimits
  }

  #inspectRead(
    read: ReadRequest,
    from: Pick<OfflineRequest, 'peer' | 'peerPort' | 'local' | 'localPort'>,
    respond: (request: RawRequest) => OfflineResponse | null,
  ): RawInspected {
    if (read.refusal !== undefined) return { kind: 'refused', refusal: read.refusal }
    const { method, target, protocol, headers, authority, hasBody, doubts } = read
    const body: OfflineRequest['body'] = read.bodyComplete ? read.body : 'incomplete'
    const whole: RawRequest = {
      ...from,
      method,
      target,
      protocol,
      headers,
      hostname: authority,
      content: read.body,
      hasBody,
      doubts,
      body: hasBody ? body : null,
    }
    const waits = hasBody && (this.#options.waitsForBody?.(whole) ?? true)
    const request: OfflineRequest = { ...whole, body: waits ? body : null }
    const response = read.bodyComplete ? respond(whole) : null
    const inspected = this.inspect(request, response)
    return { kind: 'inspected', request: whole, bodyRefusal: read.bodyRefusal ?? null, inspected }
  }

  /** Gives the compiled plan back; the engine is of no use any more. */
  close(): void {
    dropPlans(this.program)
  }

  #begin(request: OfflineRequest): number {
    this.#count += 1
    const { body } = request
    const held = body instanceof Uint8Array && body.length > 0 ? { body } : {}
    return this.#port.begin({
      method: request.method,
      target: request.target,
      protocol: request.protocol ?? 'HTTP/1.1',
      headers: request.headers.map(([name, value]) => [name, value]),
      peer: request.peer ?? '127.0.0.1',
      peerPort: request.peerPort ?? 0,
      local: request.local ?? '',
      localPort: request.localPort ?? 0,
      ...held,
    })
  }

  #inspectRequest(transaction: Transaction, { body }: OfflineRequest): Verdict {
    const verdict = this.#waf.requestHead(transaction)
    if (verdict.action !== 'needs-body' || body === 'incomplete') return verdict
    return this.#waf.requestBody(transaction)
  }

  /** As the wire does it: the head first, and the body only for rules that wait for it. */
  #inspectResponse(transaction: Transaction, response: OfflineResponse): Verdict {
    if (this.#waf.responseNeed(transaction) === 'none') return pass
    const { handle } = transaction.facts
    const headers = response.headers.map(([name, value]): [string, string] => [name, value])
    const { status } = response
    this.#port.response(handle, { status, headers })
    const verdict = this.#waf.responseHead(transaction, { status, headers })
    if (verdict.action !== 'needs-body') return verdict
    const bodyBytesMax = this.program.settings.responseBodyLimitBytes
    const body = (response.body ?? new Uint8Array()).subarray(0, bodyBytesMax)
    this.#port.response(handle, { status, headers, body })
    return this.#waf.responseBody(transaction)
  }
}

function statusOf(verdict: Verdict, response: OfflineResponse | null): number {
  return 'status' in verdict ? verdict.status : (response?.status ?? 200)
}

function factsOf(handle: number, request: OfflineRequest, id: string): ExchangeFacts {
  const { body } = request
  const host = request.headers.find(([name]) => name.toLowerCase() === 'host')
  return {
    handle,
    uniqueId: request.uniqueId ?? id,
    timeMs: request.timeMs ?? Date.now(),
    clientAddress: request.peer ?? '127.0.0.1',
    clientPort: request.peerPort ?? 0,
    serverAddress: request.local ?? '',
    serverPort: request.localPort ?? 0,
    method: request.method,
    uri: request.target,
    httpVersion: (request.protocol ?? 'HTTP/1.1').replace('HTTP/', '').replace(/^([23])\.0$/, '$1'),
    hostname: request.hostname ?? host?.[1] ?? '',
    headers: request.headers,
    hasBody: body === 'incomplete' || (body ?? null) !== null,
    route: 'offline',
  }
}
