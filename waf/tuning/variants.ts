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
import type { Exclusion, Tuning, TuningSettings } from './tuning.ts'

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
  /** Rules that ran at the start, or were skipped there. */
  readonly folded: ReadonlySet<Rule>
  /** Rules that skip others, and which. */
  readonly skips: ReadonlyMap<Rule, readonly Rule[]>
}

function startFrom(plain: PreparedProgram): Start {
  const { rules: folded } = fold(plain)
  const first = plain.phases[1]?.rules ?? []
  const skips = plain.phases.flatMap(({ rules }) =>
    rules.flatMap((rule, index) => {
      const skipped = rules.slice(index + 1, rule.next).map((one) => one.rule)
      return skipped.length === 0 ? [] : [[rule.rule, skipped] as const]
    }),
  )
  return {
    rules: plain.phases.flatMap(({ rules }) => rules.map(({ rule }) => rule)),
    folded: new Set(first.filter((_, index) => folded.has(index)).map(({ rule }) => rule)),
    skips: new Map(skips),
  }
}

/**
 * Nothing when no delicate rule is meant; else all that the exclusions take out, because without
 * the delicate ones folding may come to rules that it did not reach before.
 */
function withoutOf({ exclusions }: Tuning, start: Start) {
  const isDelicate = exclusions.some((exclusion) => touches(exclusion, start))
  const ids = (removes: typeof removesRule): number[] => {
    if (!isDelicate) return []
    const meant = start.rules.filter((rule) => exclusions.some((one) => removes(one, rule)))
    return meant.map(({ id }) => id).toSorted((one, other) => one - other)
  }
  return { absent: ids(removesRule), doubtful: ids(removesForSome) }
}

/** True when what it takes out changes the start, or leaves what others skip without its skip. */
function touches(exclusion: Exclusion, { folded, skips }: Start): boolean {
  const changes = (rule: Rule): boolean =>
    removesRule(exclusion, rule) || removesForSome(exclusion, rule)
  if ([...folded].some(changes)) return true
  const whole = exclusion.targets.length === 0
  return [...skips].some(
    ([rule, skipped]) => changes(rule) && !(whole && skipped.every((one) => changes(one))),
  )
}
