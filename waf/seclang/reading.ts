/** What one reading of all files gathers: the state that directives add to. */
import type { EngineSettings, Marker, SecLangFault, Source } from '../rule.ts'
import type { Amendment } from './amendments.ts'
import type { DefaultActions, RuleDraft } from './draft.ts'
import type { Report } from './faults.ts'

/** `EngineSettings` while they are still being set. */
export type SettingsDraft = { -readonly [Name in keyof EngineSettings]: EngineSettings[Name] }

/** One object for each call of `parseSecLang`; dropped when the ruleset is made. */
export interface Reading {
  readonly settings: SettingsDraft
  readonly faults: SecLangFault[]
  /** What is accepted and does nothing here. */
  readonly notices: SecLangFault[]
  readonly files: string[]
  /** Absolute paths and patterns that were looked for, found or not. */
  readonly lookups: string[]
  readonly items: (RuleDraft | Marker)[]
  readonly amendments: Amendment[]
  readonly ids: Map<number, Source>
  defaults: DefaultActions
  /** The rule whose last link says `chain`; the next rule directive continues it. */
  openChain: RuleDraft | null
}

/** One directive at its place. */
export interface Place {
  readonly reading: Reading
  readonly source: Source
  /** As written. */
  readonly directive: string
  readonly report: Report
  /** Reports in the text of the argument of that index. */
  readonly reportIn: (word: number) => Report
  readonly notice: Report
  /** Reads other files here (`Include`). */
  readonly include: (files: readonly string[]) => void
}

/** The state before the first file. Safe values: `base.conf` and users set them as SecLang does. */
export function newReading(): Reading {
  return {
    settings: {
      ruleEngine: 'on',
      requestBodyAccess: true,
      responseBodyAccess: false,
      responseBodyMimeTypes: ['text/plain', 'text/html'],
      requestBodyLimitBytes: 10_485_760,
      requestBodyNoFilesLimitBytes: 1_048_576,
      requestBodyLimitAction: 'reject',
      responseBodyLimitBytes: 524_288,
      responseBodyLimitAction: 'process-partial',
      requestBodyJsonDepthLimit: 512,
      argumentsLimit: 1_000,
      argumentSeparator: '&',
      auditEngine: 'relevant-only',
      // Bodies hold what no log should: the operator has to ask for them.
      auditLogParts: 'ABFHZ',
      auditLogRelevantStatus: '',
      componentSignatures: [],
      collectionTimeoutSeconds: 3_600,
      uploadFileLimit: null,
      webAppId: '',
      geoLookupDb: '',
    },
    faults: [],
    notices: [],
    files: [],
    lookups: [],
    items: [],
    amendments: [],
    ids: new Map(),
    defaults: new Map(),
    openChain: null,
  }
}
