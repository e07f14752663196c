/** The state of one exchange under inspection: born with it, owned by it, never used again. */
import { OpenCollection } from './collections/open-collection.ts'
import type { CollectionName, CollectionSource } from './collections/open-collection.ts'
import { Trail } from './evidence/trail.ts'
import { Exclusions } from './exclusions.ts'
import type { StandingExclusions } from './exclusions.ts'
import type { ExchangeFacts, ResponseFacts } from './facts.ts'
import type { MatchedRule } from './matched-rule.ts'
import type { PreparedProgram } from './prepared.ts'
import type { EngineMode, EngineSettings, Rule } from './rule.ts'
import { openCollectionStore } from './scanner.ts'
import type { Scanner } from './scanner.ts'
import { Tx } from './tx.ts'
import { txNumber } from './variables.ts'
import type { Value } from './variables.ts'
import type { Interruption, WafMode } from './verdict.ts'

/** Anomaly scores as the CRS keeps them in TX. */
export interface Scores {
  readonly inbound: number
  readonly outbound: number
}

/** Up to which phase an `allow` lets the exchange pass. */
export type AllowScope = 'none' | 'request' | 'all'

const engineByMode = { block: 'on', detect: 'detection-only', off: 'off' } as const
const strength: Readonly<Record<EngineMode, number>> = { off: 0, 'detection-only': 1, on: 2 }

/** What ModSecurity calls HIGHEST_SEVERITY before any rule with a severity matched. */
const noSeverity = 255

/** One exchange under inspection. */
export class Transaction {
  readonly program: PreparedProgram
  readonly scanner: Scanner
  readonly facts: ExchangeFacts
  /** The route's mode; `ctl:ruleEngine` may weaken it, never strengthen it. */
  readonly mode: WafMode

  /** TX by lower-case key; the captures of the last match are under 0–9. */
  readonly tx: Tx
  readonly exclusions: Exclusions
  /** Rules that matched and asked to be logged, in order. */
  readonly matched: MatchedRule[] = []

  matchedVar: Value | null = null
  matchedVars: Value[] = []
  currentRule: Rule | null = null
  highestSeverity = noSeverity
  engine: EngineMode
  auditEngine: EngineSettings['auditEngine']
  /** Letters; see `audit-parts.ts`. */
  auditLogParts: string
  requestBodyAccess: boolean
  responseBodyAccess: boolean
  /** True when `ctl:requestBodyProcessor` ran after the phase's scan. */
  isProcessorChanged = false
  /** What `@geoLookup` found last. */
  geo: readonly (readonly [string, string])[] = []
  sessionId = ''
  userId = ''
  allowed: AllowScope = 'none'
  interruption: Interruption | null = null
  response: ResponseFacts | null = null
  #noted: Trail | null = null
  /** Null until a rule opens a collection: those of most programs never do. */
  #collections: Map<CollectionName, OpenCollection> | null = null
  #source: CollectionSource | null

  constructor(
    program: PreparedProgram,
    scanner: Scanner,
    exchange: {
      readonly facts: ExchangeFacts
      readonly mode: WafMode
      /** What the route takes out; absent: nothing. */
      readonly exclusions?: StandingExclusions
      /** Absent: collections that live and end with the transaction. */
      readonly collections?: CollectionSource | null
    },
  ) {
    this.program = program
    this.exclusions = new Exclusions(exchange.exclusions)
    this.scanner = scanner
    this.facts = exchange.facts
    this.mode = exchange.mode
    this.#source = exchange.collections ?? null
    this.tx = new Tx(program.initialTx)
    const { settings } = program
    this.engine = weaker(engineByMode[exchange.mode], settings.ruleEngine)
    this.auditEngine = settings.auditEngine
    this.auditLogParts = settings.auditLogParts
    this.requestBodyAccess = settings.requestBodyAccess
    this.responseBodyAccess = settings.responseBodyAccess
  }

  /** Ids of the rules that matched, each once. */
  get matchedIds(): readonly number[] {
    return [...new Set(this.matched.map(({ rule }) => rule.id))]
  }

  /** The notes on rules that are kept; made when the first one matches. */
  get noted(): Trail {
    this.#noted ??= new Trail(this)
    return this.#noted
  }

  /**
   * `initcol`, `setsid` and their like. The last one counts, as in ModSecurity 3. Who has no key
   * has no collection, or all of those would share one.
   */
  openCollection(collection: CollectionName, key: string): void {
    if (key === '') return
    const { webAppId, collectionTimeoutSeconds } = this.program.settings
    const place = { webAppId, collection, key, timeoutMs: collectionTimeoutSeconds * 1_000 }
    this.#source ??= { store: openCollectionStore('own'), now: () => Date.now() }
    this.#collections ??= new Map()
    this.#collections.set(collection, new OpenCollection(this.#source, place))
  }

  /** Null when no rule has opened it. */
  collection(collection: CollectionName): OpenCollection | null {
    return this.#collections?.get(collection) ?? null
  }

  /** `ctl:requestBodyProcessor`: told at once, since rules of the same phase may ask for it. */
  setBodyProcessor(processor: string): void {
    this.isProcessorChanged = true
    this.scanner.setBodyProcessor(this.facts.handle, processor)
  }

  /** `ctl:requestBodyAccess`: whether the body is waited for, and read when it is there. */
  setBodyAccess(on: boolean): void {
    this.requestBodyAccess = on
    this.scanner.setBodyAccess(this.facts.handle, on)
  }

  /** `ctl:forceRequestBodyVariable`; the CRS does it for every request without a body, too. */
  setForceBodyVariable(on: boolean): void {
    if (!this.facts.hasBody) return
    this.scanner.forceBodyVariable(this.facts.handle, on)
  }

  /** False when no rule is to run any more, short of phase 5. */
  get active(): boolean {
    return this.engine !== 'off' && this.interruption === null && this.allowed !== 'all'
  }

  /** True when the phase's rules are to run. Phase 5 always does, unless the engine is off. */
  runs(phase: number): boolean {
    if (this.engine === 'off') return false
    if (phase === 5) return true
    if (!this.active) return false
    return this.allowed === 'none' || phase > 2
  }

  /** `ctl:ruleEngine`, bounded by the route's mode. */
  setEngine(engine: EngineMode): void {
    this.engine = weaker(engineByMode[this.mode], engine)
  }

  /** MATCHED_VARS, and MATCHED_VAR, as rules that matched have left them. */
  showMatches(values: readonly Value[], last: Value): void {
    this.matchedVar = last
    this.matchedVars = [...values]
  }

  /** What a rule that fails does to MATCHED_VAR, MATCHED_VARS and their names. */
  forgetMatches(): void {
    this.matchedVar = null
    if (this.matchedVars.length > 0) this.matchedVars = []
  }

  /** The anomaly scores: CRS 4's names, else CRS 3's. */
  get scores(): Scores {
    const { tx } = this
    const inbound = tx.has('blocking_inbound_anomaly_score')
      ? 'blocking_inbound_anomaly_score'
      : 'anomaly_score'
    const outbound = tx.has('blocking_outbound_anomaly_score')
      ? 'blocking_outbound_anomaly_score'
      : 'outbound_anomaly_score'
    return { inbound: txNumber(this, inbound), outbound: txNumber(this, outbound) }
  }

  /** True when phase 4 waits for this response's body: access on, and a listed media type. */
  wantsResponseBody(response: ResponseFacts): boolean {
    if (!this.responseBodyAccess || !this.runs(4)) return false
    const type = response.headers.find(([name]) => name.toLowerCase() === 'content-type')
    const mime = type?.[1].split(';', 1)[0]?.trim().toLowerCase() ?? 'null'
    return this.program.responseMimeTypes.has(mime)
  }
}

function weaker(one: EngineMode, other: EngineMode): EngineMode {
  return strength[one] <= strength[other] ? one : other
}
