/**
 * The scan plan: everything the Rust side matches against a request's bytes, as plain data.
 * `compile/` writes it, `native/crates/waf` reads it (as JSON), `evaluate.ts` reasons over the
 * hits.
 */

/** One variable expression of a rule: `ARGS:foo`, `&REQUEST_HEADERS:Host`, `!ARGS:/^x/`. */
export interface Target {
  /** Upper-case SecLang name: `ARGS`, `REQUEST_HEADERS`, `REQUEST_URI`… */
  readonly variable: string
  /** Collection member, matched without case; null for the whole collection. */
  readonly name: string | null
  /** `ARGS:/regex/`: members whose name matches (regex source without slashes); null otherwise. */
  readonly namePattern: string | null
  /** `&ARGS`: the number of members instead of their values. */
  readonly count: boolean
  /** `!ARGS:foo`: taken out of what the other targets of the same leaf name. */
  readonly exclude: boolean
}

/** One operator over one list of targets after one chain of transformations. */
export interface Leaf {
  /** 1–5: the phase whose scan runs it. */
  readonly phase: number
  readonly targets: readonly Target[]
  /** Lower-case names in order, `none` already resolved: `['urldecodeuni', 'lowercase']`. */
  readonly transformations: readonly string[]
  /** Lower-case name without `@`: `rx`, `pm`, `detectsqli`… */
  readonly operator: string
  readonly negated: boolean
  /** Argument as written; macros unexpanded when `dynamic`. */
  readonly argument: string
  /** For pm, pmFromFile, ipMatchFromFile: the entries, read by TypeScript. Empty otherwise. */
  readonly entries: readonly string[]
  readonly multiMatch: boolean
  readonly capture: boolean
  /** The argument has macros: never run by `scan`, only by `evaluate` or `matchText`. */
  readonly dynamic: boolean
  /** The leaf reads only texts known while reasoning (TX, MATCHED_VAR…): only for `matchText`. */
  readonly textOnly: boolean
  /** No request reaches a rule that asks for it, so no scan runs it. */
  readonly idle?: boolean
  /** `file:line` of the rule, for compile errors. */
  readonly source: string
}

/** How far bodies with a `Content-Encoding` are decoded. */
export interface DecodeLimits {
  /** A body that cannot be decoded is inspected as it came; else it is a `REQBODY_ERROR`. */
  readonly inspectRaw: boolean
  /** Decoded bytes of one body, after each coding. */
  readonly bodyBytesMax: number
  /** Decoded bytes of all bodies under inspection. */
  readonly bodiesBytesMax: number
  /** Decoded bytes for one byte as it came. */
  readonly ratioMax: number
  readonly codingsMax: number
}

export interface ScanPlan {
  readonly leaves: readonly Leaf[]
  readonly limits: {
    /** CPU time that one exchange's inspection may take before it answers "over budget". */
    readonly scanBudgetMs: number
    readonly argumentsMax: number
    readonly jsonDepthMax: number
    /** `SecRequestBodyLimit`-like bound on what is parsed. */
    readonly bodyBytesMax: number
    /** `SecRequestBodyNoFilesLimit`: bytes of a body outside of its files. */
    readonly noFilesBytesMax: number
    /** `SecRequestBodyLimitAction`: what becomes of a body beyond `bodyBytesMax`. */
    readonly bodyOverLimit: 'reject' | 'process-partial'
    /** `SecUploadFileLimit`; absent when there is none. */
    readonly uploadFilesMax?: number
    readonly decoding: DecodeLimits
  }
  /** `SecArgumentSeparator`, one byte, default '&'. */
  readonly argumentSeparator: string
  /** `SecRequestBodyAccess`. */
  readonly requestBodyAccess: boolean
  /** `SecResponseBodyAccess`. */
  readonly responseBodyAccess: boolean
  /** Every leaf was compiled before, so that idle ones need not be judged. */
  readonly checked?: boolean
}

/** One match reported by the scan. Texts are Latin-1: one character per byte. */
export interface Hit {
  readonly leaf: number
  readonly variable: string
  /** Member name as received; null for variables that are no collection. */
  readonly name: string | null
  /** The text that the operator saw, after transformations. */
  readonly value: string
  /** Groups 0–9 when the leaf captures; null for one that took no part. */
  readonly captures: readonly (string | null)[]
}
