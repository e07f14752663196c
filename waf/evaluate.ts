/** Runs the rules of one phase over the hits of its scan, in rule order. */
import { isAction } from './exclusions.ts'
import { matchLink } from './match-link.ts'
import type { HitsByLeaf } from './match-link.ts'
import { operatorName } from './matched-rule.ts'
import type { MatchedValue } from './matched-rule.ts'
import type { PreparedPhase, PreparedRule } from './prepared.ts'
import type { Hit } from './scan-plan.ts'
import type { Transaction } from './transaction.ts'
import { fullName } from './variables.ts'
import type { Interruption } from './verdict.ts'

const noHits: HitsByLeaf = new Map()

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
  const hits = scan(transaction, prepared, phase)
  if (hits === 'over-budget') return hits
  const fired = firedRules(prepared, hits)
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
    at = outcome === 'matched' ? rule.next : index + 1
  }
}

type RuleOutcome = 'matched' | 'unmatched' | 'removed' | 'end-of-phase' | 'over-budget'

/**
 * True when a rule that was passed over did not match: ModSecurity v3 forgets MATCHED_VAR and its
 * like at each rule that fails, and keeps them else, from rule to rule and from phase to phase.
 */
function failedBetween(
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

function scan(
  transaction: Transaction,
  prepared: PreparedPhase,
  phase: number,
): HitsByLeaf | 'over-budget' {
  if (!prepared.scans) return noHits
  const { scanner, facts, program } = transaction
  const hits = scanner.scan(facts.handle, program.plan, phase)
  if (hits === 'over-budget') return hits
  if (hits.length === 0) return noHits
  const byLeaf = new Map<number, Hit[]>()
  for (const hit of hits) {
    const same = byLeaf.get(hit.leaf)
    if (same === undefined) byLeaf.set(hit.leaf, [hit])
    else same.push(hit)
  }
  return byLeaf
}

/** The rules whose first link is a leaf with hits, ascending. */
function firedRules(prepared: PreparedPhase, hits: HitsByLeaf): readonly number[] {
  const fired: number[] = []
  for (const leaf of hits.keys()) {
    for (const index of prepared.byLeaf.get(leaf) ?? []) fired.push(index)
  }
  return fired.toSorted((one, other) => one - other)
}

function runRule(transaction: Transaction, prepared: PreparedRule, view: PhaseView): RuleOutcome {
  if (transaction.exclusions.removes(prepared.rule)) return 'removed'
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
