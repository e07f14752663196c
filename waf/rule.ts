/**
 * A SecLang rule as plain data: what the parser makes, the compiler plans and the evaluator runs.
 */
import type { Target } from './scan-plan.ts'

/** Where a directive stands. `line` is 1-based and names the directive's first line. */
export interface Source {
  readonly file: string
  readonly line: number
}

/**
 * One action of a rule, in the order written: `setvar:'tx.a=+1'` → `{ name: 'setvar', argument:
 * 'tx.a=+1' }`.
 */
export interface Action {
  /** Lower-case: `setvar`, `skipafter`, `ctl`… */
  readonly name: string
  readonly argument: string
}

export type Disruptive = 'pass' | 'deny' | 'drop' | 'redirect' | 'allow' | 'block' | 'proxy'

/**
 * One link: SecRule, or SecAction (then `targets` is empty and `operator` is `unconditionalmatch`).
 */
export interface Link {
  readonly source: Source
  readonly targets: readonly Target[]
  /** Lower-case without `@`. */
  readonly operator: string
  readonly negated: boolean
  readonly argument: string
  readonly entries: readonly string[]
  readonly transformations: readonly string[]
  readonly multiMatch: boolean
  readonly capture: boolean
  /**
   * setvar, ctl, logdata, initcol, expirevar, setenv…: everything that runs when this link matches,
   * in order.
   */
  readonly actions: readonly Action[]
}

export interface Rule {
  readonly kind: 'rule'
  /** 0 for a rule without id (refused by the parser for SecRule and SecAction). */
  readonly id: number
  /** 1–5. */
  readonly phase: number
  readonly source: Source
  /** The head link first; a chain has more than one. Non-empty. */
  readonly links: readonly Link[]
  /** After SecDefaultAction: `block` already resolved to the phase's default disruptive action. */
  readonly disruptive: Disruptive
  readonly status: number
  /** redirect or proxy address, or the scope of `allow` (`''`, `phase`, `request`). */
  readonly disruptiveArgument: string
  readonly log: boolean
  readonly auditLog: boolean
  readonly msg: string
  readonly logdata: string
  readonly severity: number | null
  readonly tags: readonly string[]
  readonly ver: string
  readonly rev: string
  readonly maturity: string
  readonly accuracy: string
  /** `skip:N`, 0 when none. */
  readonly skip: number
  /** `skipAfter:MARKER`, '' when none. */
  readonly skipAfter: string
}

/** `SecMarker NAME`: where `skipAfter` lands. */
export interface Marker {
  readonly kind: 'marker'
  readonly name: string
}

export type EngineMode = 'on' | 'off' | 'detection-only'

/** What the directives other than rules set. Names follow SecLang without `Sec`. */
export interface EngineSettings {
  readonly ruleEngine: EngineMode
  readonly requestBodyAccess: boolean
  readonly responseBodyAccess: boolean
  readonly responseBodyMimeTypes: readonly string[]
  readonly requestBodyLimitBytes: number
  readonly requestBodyNoFilesLimitBytes: number
  readonly requestBodyLimitAction: 'reject' | 'process-partial'
  readonly responseBodyLimitBytes: number
  readonly responseBodyLimitAction: 'reject' | 'process-partial'
  readonly requestBodyJsonDepthLimit: number
  readonly argumentsLimit: number
  readonly argumentSeparator: string
  readonly auditEngine: 'on' | 'off' | 'relevant-only'
  /** Letters; see `audit-parts.ts`. */
  readonly auditLogParts: string
  /** A regular expression over the status; '' when none was written. */
  readonly auditLogRelevantStatus: string
  readonly componentSignatures: readonly string[]
  readonly collectionTimeoutSeconds: number
  /** SecUploadFileLimit; null for no limit but the engine's own. */
  readonly uploadFileLimit: number | null
  /** SecWebAppId: WEBAPPID, and whose persistent collections these are. */
  readonly webAppId: string
  /** `SecGeoLookupDb`: path of a MaxMind database; '' for none. */
  readonly geoLookupDb: string
}

/** Everything that one list of SecLang files says: plain data, so that it can cross threads. */
export interface Ruleset {
  readonly items: readonly (Rule | Marker)[]
  readonly settings: EngineSettings
  /** Every file read, in order, for reports and the cache key. */
  readonly files: readonly string[]
  /** What `Include` and its like looked for: absolute paths and patterns. */
  readonly lookups: readonly string[]
  /** What was accepted and has no effect here: for `edge validate` and the start-up log. */
  readonly notices: readonly SecLangFault[]
}

/** A fault in SecLang text: where it is, and how to mend it. */
export interface SecLangFault {
  readonly file: string
  readonly line: number
  /** 1-based; 1 when only the line is known. */
  readonly column: number
  readonly message: string
  readonly mend: string
  /** Set on a notice of what loads, but is hardly what was meant. */
  readonly doubtful?: true
}
