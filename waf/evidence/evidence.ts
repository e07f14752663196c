/** What a person needs to know why an exchange was stopped: every kept match, told step by step. */
import type { Interruption } from '../verdict.ts'

/** A part of a text; one character per byte (Latin-1), so that no byte is lost. */
export interface Excerpt {
  readonly text: string
  /** Where it begins in the whole text, in bytes. */
  readonly offset: number
  /** Length of the whole text, in bytes. */
  readonly length: number
}

/** What a transformation made of a value. */
export interface Step {
  /** As ModSecurity spells it: `urlDecodeUni`. */
  readonly transformation: string
  /** Null when it changed nothing. */
  readonly after: Excerpt | null
}

/** One value that matched. */
export interface ValueEvidence {
  /** `ARGS:id`. */
  readonly variable: string
  readonly collection: string
  /** Null for a variable that is no collection. */
  readonly name: string | null
  /** Its texts are stars because the name is secret. */
  readonly redacted: boolean
  /** As it came. Where nothing could be computed again, what the operator saw. */
  readonly before: Excerpt
  /** In the rule's order; empty when nothing could be computed again. */
  readonly steps: readonly Step[]
  /** What the operator found in the last text, in bytes from its start; null: it cannot tell. */
  readonly span: { readonly start: number; readonly length: number } | null
  /** What the operator captured, group 0 first. */
  readonly captures: readonly string[]
}

/** One link of a rule; a rule without `chain` has one. */
export interface LinkEvidence {
  readonly line: number
  /** `ARGS`, `!ARGS:x`, `&REQUEST_HEADERS:Host`, as the loaded rule has them. */
  readonly targets: readonly string[]
  readonly operator: string
  readonly negated: boolean
  /** The operator's argument, expanded and cut. */
  readonly argument: string
  readonly transformations: readonly string[]
  readonly values: readonly ValueEvidence[]
  readonly valuesLeftOut: number
}

/** Points by paranoia level 1 to 4. */
export interface Points {
  readonly inbound: readonly number[]
  readonly outbound: readonly number[]
}

/** One rule that matched. */
export interface MatchEvidence {
  readonly ruleId: number
  readonly file: string
  readonly line: number
  readonly phase: number
  readonly message: string
  readonly data: string
  readonly severity: number | null
  /** From the tag `paranoia-level/N`; null without one. */
  readonly paranoiaLevel: number | null
  readonly tags: readonly string[]
  readonly version: string
  /** `deny`, `pass`…: what the rule asks for, whatever the mode made of it. */
  readonly disruptive: string
  /** Set when it stopped the exchange. */
  readonly interruption: Interruption['action'] | null
  readonly links: readonly LinkEvidence[]
  /** Members of TX that the rule's setvar actions changed. */
  readonly changes: readonly {
    readonly name: string
    readonly before: string
    readonly after: string
  }[]
  /** The anomaly score so far. */
  readonly score: { readonly before: Points; readonly after: Points }
}

/** The WAF's view of one exchange. */
export interface WafEvidence {
  readonly engine: string
  readonly paranoia: { readonly blocking: number; readonly detection: number }
  readonly threshold: { readonly inbound: number; readonly outbound: number }
  /** What exclusions can be bound to: REQUEST_METHOD and REQUEST_FILENAME as the rules see them. */
  readonly method: string
  readonly filename: string
  readonly matches: readonly MatchEvidence[]
  readonly matchesLeftOut: number
  /** False: more exchanges matched than evidence is made for, so there are ids only. */
  readonly complete: boolean
}

/** Bounds of the evidence of one exchange. */
export interface EvidenceLimits {
  readonly matchesMax: number
  /** Values of each link. */
  readonly valuesMax: number
  /** Bytes of each text. */
  readonly excerptBytesMax: number
}

/** Enough for a person, little for a machine. */
export const defaultEvidenceLimits: EvidenceLimits = {
  matchesMax: 64,
  valuesMax: 8,
  excerptBytesMax: 512,
}
