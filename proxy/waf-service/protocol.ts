/**
 * What proxies and the WAF service say to each other beside the bytes of the exchange: those go
 * from wire to wire. Its layout belongs to the version in `ask/frame.rs` (MAGIC).
 */
import type { WafEvidence } from '../../waf/evidence/evidence.ts'
import type { ResponseNeed } from '../../waf/waf.ts'
import type { Verdict, WafMode } from '../../waf/verdict.ts'

/** Which rules, and what the proxy's worker knows that the head does not say. */
export interface Question {
  /** `variantName` of rules and tuning: who does not have it must not answer. */
  readonly variant: string
  readonly mode: WafMode
  readonly requestId: string
  readonly timeMs: number
  readonly clientAddress: string
  /** '' when none serves the request. */
  readonly route: string
  /** A body follows that phase 2 is to wait for. */
  readonly hasBody: boolean
}

/** What the service makes of one moment of an exchange. */
export interface Answer {
  readonly verdict: Verdict
  /** Null: the rules set no limit of their own. */
  readonly bodyBytesMax: number | null
  readonly responseNeed: ResponseNeed
  /** How the response's body is held, where it is needed. */
  readonly hold: {
    readonly bytesMax: number
    readonly rejectsLonger: boolean
    readonly mediaTypes: string
  } | null
  /** Null while nothing matched. */
  readonly told: Told | null
  /** Lines of the WAF's log, of the audit log. */
  readonly log: readonly string[]
  readonly audit: readonly string[]
}

/** What access log, metrics and events tell of the inspection. */
export interface Told {
  readonly score: number
  /** Each once, in order. */
  readonly rules: readonly number[]
  /** Once the service is done with the exchange, and only for one worth telling about. */
  readonly evidence: WafEvidence | null
}

/** JSON in ASCII: the wire counts bytes, and texts cross as Latin-1. */
export function asciiJson(value: unknown): string {
  const json = JSON.stringify(value)
  return /^[ -~]*$/.test(json) ? json : json.replace(/[^ -~]/g, escape)
}

function escape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/**
 * Both sides run the same build of the protocol: no schema, which every request would pay for. Who
 * asks without a secret may be wrong in any way, so the service catches what comes of it.
 */
export function readQuestion(text: string): Question {
  return JSON.parse(text)
}

/** See `readQuestion`. */
export function readAnswer(text: string): Answer {
  return JSON.parse(text)
}
