/**
 * A phase of which only control rules are left: no rule fired that reads the request, or none but
 * those that do the same for any value (`ctl:` for a kind of request, told to nobody). What the
 * phase does then depends on TX alone, so it is found out once, from TX as the rules' start leaves
 * it, and remembered: the CRS's scoring and blocking rules run on every request. Only a transaction
 * whose TX is still the same in all that these rules read may use it, of which no rule was taken
 * out meanwhile, and in which nothing has matched just before; for any other the rules run.
 */
import type { RunAction } from './actions/index.ts'
import { failedBetween } from './evaluate.ts'
import type { StandingExclusions } from './exclusions.ts'
import { isQuiet, requestless, writesOnlyTx } from './fold.ts'
import { matchLink } from './match-link.ts'
import { decidesAlone } from './prepared-link.ts'
import type { PreparedLink } from './prepared-link.ts'
import type { PreparedPhase, PreparedProgram, PreparedRule } from './prepared.ts'
import { assignedName, liveRules } from './prune.ts'
import { removalsOf } from './removals.ts'
import type { RuleTest } from './removals.ts'
import type { Transaction } from './transaction.ts'
import { meansCapture } from './tx.ts'
import type { NameTest } from './tx.ts'
import { selector } from './variables.ts'
import type { Value } from './variables.ts'

/** What such a phase comes to. */
export interface QuietPhase {
  /** True for members of TX that its rules read or set. */
  readonly touches: NameTest
  /** What it leaves in TX that was not there; transactions share it. */
  readonly sets: Map<string, string>
  /** MATCHED_VARS at its end. */
  readonly matchedVars: readonly Value[]
  /** Chains that their guards hold back. */
  readonly heldBack: readonly PreparedRule[]
  /** The `ctl:` actions of the rules that fired. */
  readonly runs: readonly RunAction[]
}

/** Kept for each phase and list of exclusions; clients choose what fires, if among few rules. */
const firedSetsMax = 256
const one: Value = { variable: '', name: null, value: '' }

/** The quiet phases of one program, for each list of exclusions that its routes have. */
export class QuietPhases {
  readonly #program: PreparedProgram
  /** For `ctl:ruleRemoveTarget…=…;TX`, which may blind a control rule. */
  readonly #blinded: readonly RuleTest[]
  readonly #known = new WeakMap<StandingExclusions, Map<string, QuietPhase | null>[]>()

  constructor(program: PreparedProgram) {
    this.#program = program
    const actions = program.phases.flatMap((phase) =>
      liveRules(phase).flatMap((index) =>
        (phase.rules[index]?.links ?? []).flatMap(({ link }) => link.actions),
      ),
    )
    this.#blinded = removalsOf(
      actions.filter(({ argument }) => /^\s*ruleRemoveTarget/i.test(argument)),
    )
  }

  /** Null when what the phase does is not settled by TX and by which rules fired. */
  of(number: number, fired: readonly number[], standing: StandingExclusions): QuietPhase | null {
    const phase = this.#program.phases[number]
    if (phase === undefined || !fired.every((index) => phase.rules[index]?.isBlind)) return null
    let known = this.#known.get(standing)
    if (known === undefined) {
      known = this.#program.phases.map(() => new Map())
      this.#known.set(standing, known)
    }
    const sets = known[number]
    const key = fired.length === 0 ? '' : fired.join()
    const quiet = sets?.get(key)
    if (quiet !== undefined) return quiet
    const found = this.#quiet(phase, fired, standing)
    if (sets !== undefined && sets.size >= firedSetsMax) sets.clear()
    sets?.set(key, found)
    return found
  }

  /** Runs the control rules on TX as it is at the start, and those that fired. */
  #quiet(
    phase: PreparedPhase,
    fired: readonly number[],
    standing: StandingExclusions,
  ): QuietPhase | null {
    const transaction = requestless(this.#program, standing)
    const names = new TouchedNames()
    const heldBack: PreparedRule[] = []
    const runs: RunAction[] = []
    let at = 0
    const order = [...phase.controls, ...fired].sort((some, other) => some - other)
    for (const index of order) {
      const rule = phase.rules[index]
      if (rule === undefined || index < at) continue
      if (failedBetween(transaction, phase, { at, index })) transaction.forgetMatches()
      at = index + 1
      if (transaction.exclusions.removes(rule.rule)) continue
      if (rule.guard !== null) {
        heldBack.push(rule)
        transaction.forgetMatches()
        continue
      }
      if (this.#seesLess(transaction, rule)) return null
      if (rule.isBlind) {
        for (const act of rule.links.flatMap(({ perRule }) => perRule)) {
          act(transaction)
          runs.push(act)
        }
        transaction.showMatches([one], one)
        at = rule.next
        continue
      }
      const matched = run(transaction, rule, names)
      if (matched === null || (matched && !isQuiet(rule))) return null
      if (!matched) transaction.forgetMatches()
      if (matched) at = rule.next
    }
    if (failedBetween(transaction, phase, { at, index: Infinity })) transaction.forgetMatches()
    const { matchedVars } = transaction
    // What it was is known only to who has its value.
    if (matchedVars.includes(one)) return null
    const start = this.#program.initialTx
    const sets = [...transaction.tx].filter(([key, value]) => start.get(key) !== value)
    return { touches: names.test(), sets: new Map(sets), matchedVars, heldBack, runs }
  }

  /** True when an exclusion may hide what the rule would match. */
  #seesLess({ exclusions }: Transaction, { rule }: PreparedRule): boolean {
    return exclusions.hides(rule) !== null || this.#blinded.some((blinds) => blinds(rule))
  }
}

/** Whether the rule matches; null when that is not for TX to say. */
function run(transaction: Transaction, rule: PreparedRule, names: TouchedNames): boolean | null {
  for (const link of rule.links) {
    if (!isSettled(transaction, link) || !writesOnlyTx(link) || !names.add(link)) return null
    if (matchLink(transaction, rule, link, new Map()) !== 'matched') return false
  }
  return true
}

function isSettled(transaction: Transaction, link: PreparedLink): boolean {
  const { test, txKey, ownTest, readers } = link
  const { targets, capture, negated } = link.link
  if (capture && !negated) return false
  if (test.kind === 'always') return targets.length === 0
  if (txKey !== null) return decidesAlone(transaction, link)
  const readsTx = test.kind === 'reasoned' && test.scannedLeaf < 0
  if (!readsTx || !targets.every(({ variable }) => variable === 'TX')) return false
  return ownTest !== null || readers.every((read) => read(transaction).length === 0)
}

/** Members of TX that links name. */
class TouchedNames {
  readonly #keys = new Set<string>()
  readonly #selectors: NameTest[] = []

  /** False when a name is known only while rules run, or is that of a capture. */
  add({ link }: PreparedLink): boolean {
    const sets = link.actions.filter(({ name }) => name === 'setvar')
    const texts = [link.argument, ...sets.map(({ argument }) => argument)]
    const macros = texts.flatMap((text) => [...text.matchAll(/%\{([^}]*)\}/g)])
    const read = macros.map(([, name = '']) => /^tx[.:](.+)$/i.exec(name)?.[1] ?? '')
    const keys = [...read, ...sets.map(assignedName)]
    for (const target of link.targets) {
      if (target.name === null) this.#selectors.push(selector(target))
      else keys.push(target.name)
    }
    for (const key of keys) this.#keys.add(key.toLowerCase())
    return !keys.some((key) => key === '' || key.includes('%{')) && !meansCapture(this.test())
  }

  test(): NameTest {
    const keys = this.#keys
    const selectors = this.#selectors
    return (name) => keys.has(name) || selectors.some((selects) => selects(name))
  }
}
