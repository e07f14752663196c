/** Runs the rules of one phase over the hits of its scan, in rule order. */
import { isAction } from './exclusions.ts'
import type { TargetTest } from './exclusions.ts'
import { matchLink } from './match-link.ts'
import type { HitsByLeaf } from './match-link.ts'
import { operatorName } from './matched-rule.ts'
import type { MatchedValue } from './matched-rule.ts'
import type { PreparedPhase, PreparedRule } from './prepared.ts'
import type { Guard } from './program.ts'
import type { Rule } from './rule.ts'
import type { Hit } from './scan-plan.ts'
import type { Scanned } from './scanner.ts'
import type { Transaction } from './transaction.ts'
import { fullName } from './variables.ts'
import type { Interruption } from './verdict.ts'

/**
 * Runs phase 1–5. Null when nothing stops the exchange; in detection-only mode nothing ever does.
 * Only rules whose first link may match are looked at, so a clean request costs the control rules.
 */
export function runPhase(
  transaction: Transaction,
  phase: number,
): Interruption | 'over-budget' | null {
  const prepared = transaction.program.phases[phase]
  if (prepared === undefined || prepared.rules.length === 0) return null
  if (!transaction.runs(phase)) return null
  const found = scan(transaction, prepared, phase)
  if (found === 'over-budget') return found
  let fired = firedRules(prepared, found.leaves)
  if (passQuietly(transaction, phase, fired)) return null
  const hits = byLeaf(found.hits())
  let isScanCurrent = true
  let control = 0
  let scanned = 0
  let at = 0
  for (;;) {
    while ((prepared.controls[control] ?? Infinity) < at) control += 1
    while ((fired[scanned] ?? Infinity) < at) scanned += 1
    const index = Math.min(prepared.controls[control] ?? Infinity, fired[scanned] ?? Infinity)
    const rule = prepared.rules[index]
    if (transaction.matchedVar !== null && failedBetween(transaction, prepared, { at, index })) {
      transaction.forgetMatches()
    }
    if (rule === undefined) return null
    const outcome = runRule(transaction, rule, { hits, phase })
    if (outcome === 'over-budget') return outcome
    if (outcome === 'unmatched') transaction.forgetMatches()
    if (transaction.interruption !== null && phase !== 5) return transaction.interruption
    if (outcome === 'end-of-phase') return null
    if (isScanCurrent && transaction.isProcessorChanged) {
      isScanCurrent = false
      fired = merge(fired, prepared.late)
      scanned = 0
    }
    at = outcome === 'matched' ? rule.next : index + 1
  }
}

/** Does at once what the phase's rules would; false where they have to run. */
function passQuietly(transaction: Transaction, phase: number, fired: readonly number[]): boolean {
  const { program, tx, exclusions } = transaction
  if (transaction.matchedVar !== null || exclusions.hasRemovedRules) return false
  if (fired.length > 0 && exclusions.hasHiddenTargets) return false
  const quiet = program.quiet?.of(phase, fired, exclusions.standing) ?? null
  if (quiet === null || tx.differs(quiet.touches)) return false
  for (const rule of quiet.heldBack) holdBack(transaction, rule)
  for (const run of quiet.runs) run(transaction)
  tx.share(quiet.sets)
  const last = quiet.matchedVars.at(-1)
  if (last !== undefined) transaction.showMatches(quiet.matchedVars, last)
  return true
}

type RuleOutcome = 'matched' | 'unmatched' | 'removed' | 'end-of-phase' | 'over-budget'

/**
 * True when a rule that was passed over did not match: ModSecurity v3 forgets MATCHED_VAR and its
 * like at each rule that fails, and keeps them else, from rule to rule and from phase to phase.
 */
export function failedBetween(
  transaction: Transaction,
  { rules }: PreparedPhase,
  { at, index }: { readonly at: number; readonly index: number },
): boolean {
  for (let passed = at; passed < Math.min(index, rules.length); passed += 1) {
    const rule = rules[passed]?.rule
    if (rule !== undefined && !isAction(rule) && !transaction.exclusions.removes(rule)) return true
  }
  return false
}

interface PhaseView {
  readonly hits: HitsByLeaf
  readonly phase: number
}

const noHits: readonly Hit[] = []
const nothing: Scanned = { leaves: [], hits: () => noHits }

function scan(
  transaction: Transaction,
  prepared: PreparedPhase,
  phase: number,
): Scanned | 'over-budget' {
  if (!prepared.scans) return nothing
  const { scanner, facts, program } = transaction
  transaction.isProcessorChanged = false
  return scanner.scan(facts.handle, program.plan, phase)
}

function byLeaf(hits: readonly Hit[]): HitsByLeaf {
  const found = new Map<number, Hit[]>()
  for (const hit of hits) {
    const same = found.get(hit.leaf)
    if (same === undefined) found.set(hit.leaf, [hit])
    else same.push(hit)
  }
  return found
}

const noRules: readonly number[] = []

/** The rules of which every leaf that they need has hits, ascending; `leaves` ascend, too. */
function firedRules(
  { byLeaf: rulesOf, rules }: PreparedPhase,
  leaves: readonly number[],
): readonly number[] {
  let fired: number[] | null = null
  let ascends = true
  for (const leaf of leaves) {
    for (const index of rulesOf.get(leaf) ?? noRules) {
      const needs = rules[index]?.needs ?? noRules
      if (needs.length > 1 && !needs.every((needed) => contains(leaves, needed))) continue
      if (fired === null) {
        fired = [index]
        continue
      }
      ascends &&= index > (fired.at(-1) ?? -1)
      fired.push(index)
    }
  }
  if (fired === null) return noRules
  return ascends ? fired : fired.sort(ascending)
}

/** Whether one of the numbers, which ascend, is that one. */
function contains(numbers: readonly number[], wanted: number): boolean {
  let [from, end] = [0, numbers.length]
  while (from < end) {
    const middle = (from + end) >>> 1
    if ((numbers[middle] ?? Infinity) < wanted) from = middle + 1
    else end = middle
  }
  return numbers[from] === wanted
}

function merge(some: readonly number[], others: readonly number[]): readonly number[] {
  return [...new Set([...some, ...others])].sort(ascending)
}

function ascending(one: number, other: number): number {
  return one - other
}

function runRule(transaction: Transaction, prepared: PreparedRule, view: PhaseView): RuleOutcome {
  if (transaction.exclusions.removes(prepared.rule)) return 'removed'
  if (isHeldBack(prepared.guard, view)) {
    holdBack(transaction, prepared)
    return 'unmatched'
  }
  transaction.currentRule = prepared.rule
  for (const link of prepared.links) {
    const outcome = matchLink(transaction, prepared, link, view.hits)
    if (outcome !== 'matched') return outcome
  }
  // ModSecurity v3: ctl and its like come before the disruptive action, which they may disarm.
  for (const link of prepared.links) for (const run of link.perRule) run(transaction)
  const interruption = conclude(transaction, prepared, view.phase)
  record(transaction, prepared, interruption)
  return endsPhase(transaction, prepared, view.phase) ? 'end-of-phase' : 'matched'
}

/** True when the chain cannot match, by its guard. */
function isHeldBack(guard: Guard | null, { hits }: PhaseView): boolean {
  return guard !== null && !hits.has(guard.within) && !hits.has(guard.names)
}

/** All that the first link of a chain behind a guard leaves is TX:0, the last value it takes. */
function holdBack(transaction: Transaction, { rule, links }: PreparedRule): void {
  const test = links[0]?.test
  if (test?.kind !== 'dynamic') return
  // As the exclusions are now: a `ctl:` to come does not change what this rule has taken.
  const hidden = transaction.exclusions.hides(rule)
  transaction.tx.captureLate(
    () => lastTaken(transaction, test.leaf, { rule, hidden })?.captures ?? null,
  )
}

function lastTaken(
  { scanner, facts, program }: Transaction,
  leaf: number,
  { rule, hidden }: { readonly rule: Rule; readonly hidden: TargetTest | null },
): Hit | null {
  const query = { plan: program.plan, leaf, argument: rule.links[0]?.argument ?? '' }
  const hits = scanner.evaluate(facts.handle, query)
  if (hits === 'over-budget') return null
  return hits.findLast((hit) => hidden?.(hit) !== true) ?? null
}

/** The head's disruptive action, as far as the engine's mode lets it act. */
function conclude(
  transaction: Transaction,
  prepared: PreparedRule,
  phase: number,
): Interruption | null {
  const { rule } = prepared
  if (rule.severity !== null && rule.severity < transaction.highestSeverity) {
    transaction.highestSeverity = rule.severity
  }
  // In phase 5 the answer is long gone: nothing is left to stop.
  if (transaction.engine !== 'on' || phase === 5) return null
  const interruption = interruptionOf(transaction, prepared, phase)
  transaction.interruption = interruption
  return interruption
}

function interruptionOf(
  transaction: Transaction,
  prepared: PreparedRule,
  phase: number,
): Interruption | null {
  const { id: ruleId, disruptive, status } = prepared.rule
  if (disruptive === 'pass' || disruptive === 'allow') return null
  if (disruptive === 'redirect') {
    const location = prepared.redirect.expand(transaction)
    const redirects = status >= 300 && status < 400
    return { action: 'redirect', status: redirects ? status : 302, location, ruleId, phase }
  }
  // drop and proxy too: a request that the rules refuse is answered, never forwarded elsewhere.
  return { action: 'deny', status: status > 0 ? status : 403, ruleId, phase }
}

/** `allow` ends this phase and perhaps the next ones; ctl:ruleEngine=Off ends it too. */
function endsPhase(transaction: Transaction, prepared: PreparedRule, phase: number): boolean {
  if (transaction.engine === 'off') return true
  const { disruptive, disruptiveArgument } = prepared.rule
  if (disruptive !== 'allow' || transaction.engine !== 'on') return false
  const scope = disruptiveArgument.toLowerCase()
  if (scope === '') transaction.allowed = 'all'
  else if (scope === 'request' && phase <= 2) transaction.allowed = 'request'
  return true
}

function record(
  transaction: Transaction,
  prepared: PreparedRule,
  interruption: Interruption | null,
): void {
  const { rule } = prepared
  if (!rule.log && !rule.auditLog && interruption === null) return
  transaction.matched.push({
    rule,
    message: prepared.message.expand(transaction),
    data: prepared.data.expand(transaction),
    tags: prepared.tags.map((tag) => tag.constant ?? tag.expand(transaction)),
    value: matchedValue(transaction, prepared),
    interruption,
    notes: prepared.notes === null ? null : transaction.noted.settle(prepared),
  })
}

function matchedValue(transaction: Transaction, prepared: PreparedRule): MatchedValue | null {
  const { matchedVar } = transaction
  const link = prepared.links.at(-1)
  // A SecAction sees nothing; MATCHED_VAR may still be that of the rule before it.
  if (matchedVar === null || link === undefined || link.link.targets.length === 0) return null
  return {
    operator: operatorName(link.link.operator),
    parameter: link.argument.expand(transaction),
    variable: fullName(matchedVar),
    value: matchedVar.value,
  }
}
