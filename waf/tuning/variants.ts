/**
 * Tunings → variants of a program. Two tunings share a variant unless their settings differ, or one
 * of them takes out a rule that the start or the skips of the rules depend on: all other exclusions
 * are looked up while rules run, so that they cost neither a plan nor a program.
 */
import { removesForSome, removesRule } from './prepared-tuning.ts'
import type { Rule } from '../rule.ts'
import type { PreparedProgram } from '../prepared.ts'
import { fold } from '../fold.ts'
import { noSettings } from './tuning.ts'
import type { Tuning, TuningSettings } from './tuning.ts'

/** What one variant is made of. */
export interface VariantDraft {
  readonly settings: TuningSettings
  readonly absent: readonly number[]
  readonly doubtful: readonly number[]
}

/** The drafts, and for each tuning the index of its own. */
export interface VariantDrafts {
  readonly drafts: readonly VariantDraft[]
  readonly ofTuning: readonly number[]
}

/** The first draft is the program as it is. `startOf` prepares the program with settings. */
export function draftVariants(
  tunings: readonly Tuning[],
  startOf: (settings: TuningSettings) => PreparedProgram,
): VariantDrafts {
  const drafts: VariantDraft[] = []
  const known = new Map<string, number>()
  const indexOf = (draft: VariantDraft): number => {
    const key = JSON.stringify(draft)
    const index = known.get(key) ?? drafts.push(draft) - 1
    known.set(key, index)
    return index
  }
  indexOf({ settings: noSettings, absent: [], doubtful: [] })
  const starts = new Map<string, Start>()
  const ofTuning = tunings.map((tuning) => {
    const { settings } = tuning
    if (tuning.exclusions.length === 0) return indexOf({ settings, absent: [], doubtful: [] })
    const key = JSON.stringify(settings)
    const start = starts.get(key) ?? startFrom(startOf(settings))
    starts.set(key, start)
    return indexOf({ settings, ...withoutOf(tuning, start) })
  })
  return { drafts, ofTuning }
}

interface Start {
  readonly rules: readonly Rule[]
  /** Rules whose absence changes what is folded or which rules others skip. */
  readonly delicate: ReadonlySet<Rule>
}

function startFrom(plain: PreparedProgram): Start {
  const { rules: folded } = fold(plain)
  const delicate = plain.phases.flatMap(({ rules }, phase) =>
    rules.filter((rule, index) => (phase === 1 && folded.has(index)) || rule.next !== index + 1),
  )
  return {
    rules: plain.phases.flatMap(({ rules }) => rules.map(({ rule }) => rule)),
    delicate: new Set(delicate.map(({ rule }) => rule)),
  }
}

/**
 * Nothing when no delicate rule is meant; else all that the exclusions take out, because without
 * the delicate ones folding may come to rules that it did not reach before.
 */
function withoutOf({ exclusions }: Tuning, { rules, delicate }: Start) {
  const meant = (removes: typeof removesRule): Rule[] =>
    rules.filter((rule) => exclusions.some((exclusion) => removes(exclusion, rule)))
  const absent = meant(removesRule)
  const doubtful = meant(removesForSome)
  const isDelicate = [...absent, ...doubtful].some((rule) => delicate.has(rule))
  const ids = (chosen: readonly Rule[]): number[] =>
    isDelicate ? chosen.map(({ id }) => id).toSorted((one, other) => one - other) : []
  return { absent: ids(absent), doubtful: ids(doubtful) }
}
