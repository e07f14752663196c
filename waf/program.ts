/**
 * A compiled ruleset: what every worker holds. Plain data, so that it crosses threads; the scan
 * plan
 * itself lives in the addon, once for all of them, under `plan`.
 */
import type { EngineSettings, Rule, SecLangFault } from './rule.ts'
import type { Exclusion, Levels } from './tuning/tuning.ts'

/** How one link of a rule is decided. `leaf` indexes the scan plan. */
export type LinkTest =
  /** Answered by the phase's scan: it matched when the leaf has hits. */
  | {
      readonly kind: 'scanned'
      readonly leaf: number
      /** A `ctl:` may change the variable; once one did, the leaf is asked for again. */
      readonly late?: boolean
    }
  /** Bytes of the request that are asked for when the rule is reached: the argument has macros… */
  | {
      readonly kind: 'dynamic'
      readonly leaf: number
      /** … or the answer is not to be had before. */
      readonly late?: boolean
    }
  /**
   * Some targets are known only while reasoning (TX, MATCHED_VAR…); `leaf` serves `matchText`,
   * `scannedLeaf` (or -1) the others.
   */
  | {
      readonly kind: 'reasoned'
      readonly leaf: number
      readonly scannedLeaf: number
      /** The scanned part changes while rules run, so it is asked for when the rule is reached. */
      readonly late?: boolean
    }
  /** SecAction, `@unconditionalMatch`. */
  | { readonly kind: 'always' }

/** Two leaves of which one has hits on every request that the rule matches (`compile/guard.ts`). */
export interface Guard {
  readonly within: number
  /** -1 when there is no need of it. */
  readonly names: number
}

export interface ProgramRule {
  readonly rule: Rule
  /** One for each link. */
  readonly tests: readonly LinkTest[]
  readonly guard?: Guard
}

/** A program with other settings, or without some rules, over what all variants share. */
export interface ProgramVariant {
  /** Id of its scan plan in the addon; several variants may share one. */
  readonly plan: number
  /** Takes the place of the rule of the same id; null: the program's own stays. */
  readonly settings: ProgramRule | null
  /** Ids of rules that never run. */
  readonly absent: readonly number[]
  /** Ids of rules that do not run for some requests. */
  readonly doubtful: readonly number[]
  /** In place of the program's, where a setting is written into the plan's arguments. */
  readonly phases?: Program['phases']
  /** What the levels are once the rules' own start has run. */
  readonly levels: Levels
}

/** One `Tuning` of the configuration, compiled. */
export interface ProgramTuning {
  /** Index of its variant. */
  readonly variant: number
  readonly exclusions: readonly Exclusion[]
}

export interface Program {
  /** Index 1–5; 0 is empty. Rules in order; a marker keeps its place as its name. */
  readonly phases: readonly (readonly (ProgramRule | string)[])[]
  readonly settings: EngineSettings
  /** Id of the scan plan in the addon. */
  readonly plan: number
  /** True where the phase has at least one leaf to scan. Index as `phases`. */
  readonly scans: readonly boolean[]
  /** `OWASP_CRS/4.28.0`… from SecComponentSignature. */
  readonly components: readonly string[]
  /** Every file that was read, data files of operators too. */
  readonly files?: readonly string[]
  /** What `Include` and its like looked for: absolute paths and patterns. */
  readonly lookups?: readonly string[]
  /** What the rules ask for and does nothing here; to be logged once at start. */
  readonly notices?: readonly SecLangFault[]
  /** Absent: the program itself is all there is. */
  readonly variants?: readonly ProgramVariant[]
  /** In the order of the tunings that were asked for. */
  readonly tunings?: readonly ProgramTuning[]
}

/** The program with other names for its scan plans. */
export function renamePlans(program: Program, rename: (plan: number) => number): Program {
  const { plan, variants } = program
  const renamed = (variants ?? []).map((variant) => ({ ...variant, plan: rename(variant.plan) }))
  return {
    ...program,
    plan: rename(plan),
    ...(variants === undefined ? {} : { variants: renamed }),
  }
}

/** Every scan plan that the program and its variants use. */
export function plansOf({ plan, variants }: Program): readonly number[] {
  return [...new Set([plan, ...(variants ?? []).map((variant) => variant.plan)])]
}
