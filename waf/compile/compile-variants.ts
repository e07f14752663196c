/** The variants of a program that tunings ask for; each shares what it can with the first. */
import assert from 'node:assert'
import { liveLeaves } from '../prune.ts'
import { prepareUnfolded, replaceRule, specialize } from '../prepared.ts'
import type { PreparedProgram, Without } from '../prepared.ts'
import type { Program, ProgramRule, ProgramTuning, ProgramVariant } from '../program.ts'
import type { Leaf } from '../scan-plan.ts'
import { parseSecLang } from '../seclang/parser.ts'
import { settledArguments, settleLeaves, settleTests } from '../settle.ts'
import { draftVariants } from '../tuning/variants.ts'
import type { VariantDraft } from '../tuning/variants.ts'
import { levelsOf, noTuning, routeSettings, settingsAction } from '../tuning/tuning.ts'
import type { Tuning, TuningSettings } from '../tuning/tuning.ts'

/** Compiles leaves of which some are idle; the id of the plan. */
export type CompileLeaves = (leaves: readonly Leaf[]) => number

/** What the variants say of the program. */
export interface CompiledVariants {
  /** The program with what the start makes certain in its tests, for the first variant. */
  readonly program: Program
  readonly variants: readonly ProgramVariant[]
  readonly tunings: readonly ProgramTuning[]
}

/** A plan, and which variants may use it. */
interface KnownPlan {
  readonly id: number
  readonly settings: string
  readonly settled: string
  readonly live: ReadonlySet<number>
}

/** Compiles every variant. The first tuning is that of requests without a route. */
export function compileVariants(
  program: Program,
  leaves: readonly Leaf[],
  {
    tunings,
    compileLeaves,
  }: { readonly tunings: readonly Tuning[]; readonly compileLeaves: CompileLeaves },
): CompiledVariants {
  const plain = prepareUnfolded(program)
  const asked = tunings.length === 0 ? [noTuning] : tunings
  const { drafts, ofTuning } = draftVariants(asked, (settings) => withSettings(plain, settings))
  const settler = new Settler(program, plain)
  const plans: KnownPlan[] = []
  const variants = drafts.map((draft): ProgramVariant => {
    const { settled, key, plain: certain, own } = settler.settle(draft)
    const prepared = specialize(withSettings(certain, draft.settings), without(draft))
    const live = liveLeaves(prepared)
    const settings = JSON.stringify(draft.settings)
    const shares = (plan: KnownPlan): boolean =>
      plan.settings === settings && plan.settled === key && live.isSubsetOf(plan.live)
    let plan = plans.find(shares)
    if (plan === undefined) {
      const id = compileLeaves(markIdle(settleLeaves(leaves, settled), live))
      plan = { id, settings, settled: key, live }
      plans.push(plan)
    }
    const { absent, doubtful } = draft
    const levels = levelsOf(prepared.initialTx)
    const rule = settingsRule(draft.settings)
    return { plan: plan.id, settings: rule, absent, doubtful, levels, ...own }
  })
  const ofEach = asked.map(({ exclusions }, index) => ({
    variant: ofTuning[index] ?? 0,
    exclusions,
  }))
  return { program: settler.first, variants, tunings: ofEach }
}

/** What the start of a variant makes certain, and the program that takes it from the scan. */
interface Settled {
  readonly settled: ReadonlyMap<number, string>
  readonly key: string
  readonly plain: PreparedProgram
  /** The variant's own phases; nothing when those of the first variant serve. */
  readonly own: Pick<ProgramVariant, 'phases'>
}

/** Settles one variant after the other; nearly all come out as the first one. */
class Settler {
  readonly #program: Program
  readonly #plain: PreparedProgram
  #first: (Settled & { readonly program: Program }) | null = null

  constructor(program: Program, plain: PreparedProgram) {
    this.#program = program
    this.#plain = plain
  }

  /** The program of the first variant. */
  get first(): Program {
    return this.#first?.program ?? this.#program
  }

  settle(draft: VariantDraft): Settled {
    const unsettled = specialize(withSettings(this.#plain, draft.settings), without(draft))
    const settled = settledArguments(unsettled)
    const key = JSON.stringify([...settled])
    if (this.#first?.key === key) return this.#first
    const program = settleTests(this.#program, settled)
    const plain = prepareUnfolded(program)
    if (this.#first !== null) return { settled, key, plain, own: { phases: program.phases } }
    this.#first = { settled, key, plain, own: {}, program }
    return this.#first
  }
}

function without({ absent, doubtful }: VariantDraft): Without {
  return { absent: new Set(absent), doubtful: new Set(doubtful) }
}

function withSettings(plain: PreparedProgram, settings: TuningSettings): PreparedProgram {
  const rule = settingsRule(settings)
  return rule === null ? plain : replaceRule(plain, rule)
}

/** Null when the settings say nothing. */
function settingsRule(settings: TuningSettings): ProgramRule | null {
  if (Object.values(settings).every((value) => value === null)) return null
  const { file, id } = routeSettings
  const { items } = parseSecLang([{ file, text: settingsAction(settings, id) }])
  const [rule] = items
  assert(rule?.kind === 'rule', 'the settings are one SecAction')
  return { rule, tests: [{ kind: 'always' }] }
}

/** Leaves of rules that no request reaches (other paranoia levels) stay, but are not scanned. */
function markIdle(leaves: readonly Leaf[], live: ReadonlySet<number>): Leaf[] {
  return leaves.map((leaf, index) =>
    live.has(index) || leaf.textOnly || leaf.dynamic ? leaf : { ...leaf, idle: true },
  )
}
