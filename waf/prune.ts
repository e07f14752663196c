/**
 * Takes out what no request can reach: rules that compare members of TX which nothing changes any
 * more after the start (the CRS's paranoia levels), what such a rule skips, and what reads a
 * response body that nobody hands over.
 */
import { isQuiet, matches, requestless } from './fold.ts'
import { decidesAlone, leavesNothing } from './prepared-link.ts'
import type { PreparedLink } from './prepared-link.ts'
import type { PreparedPhase, PreparedProgram, PreparedRule } from './prepared.ts'
import { removalsOf } from './removals.ts'
import type { RuleTest } from './removals.ts'
import type { Action } from './rule.ts'
import type { Transaction } from './transaction.ts'

/** What all rules that are left may do, gathered once. */
export interface Effects {
  /** True when some rule may set this member of TX. */
  readonly sets: (key: string) => boolean
  /** One for each `ctl:ruleRemove…`, and for the exclusions of routes. */
  readonly removals: readonly RuleTest[]
  readonly responseBody: boolean
  /** TX as it is at the start, for running constant rules. */
  readonly transaction: Transaction
}

/**
 * The same program with fewer rules to look at; `doubtful` are rules that an exclusion takes out
 * for some requests only.
 */
export function prune(program: PreparedProgram, doubtful: RuleTest = () => false): PreparedProgram {
  const found = effectsOf(program)
  const effects = { ...found, removals: [...found.removals, doubtful] }
  const phases = program.phases.map((phase) => {
    const gone = unreachable(phase, effects)
    return withoutIdleSkips(withoutRules(phase, (index) => gone.has(index)))
  })
  const logging = phases[5]
  const readsResponse =
    phases.slice(3, 5).some(readsExchange) || (logging !== undefined && namesResponse(logging))
  return { ...program, phases, readsResponse }
}

/** The phase without some of its rules; their places stay, so that jumps still land. */
export function withoutRules(
  phase: PreparedPhase,
  gone: (index: number) => boolean,
): PreparedPhase {
  const byLeaf = new Map<number, readonly number[]>()
  for (const [leaf, indexes] of phase.byLeaf) {
    const left = indexes.filter((index) => !gone(index))
    if (left.length > 0) byLeaf.set(leaf, left)
  }
  const controls = phase.controls.filter((index) => !gone(index))
  const late = phase.late.filter((index) => !gone(index))
  const left = { ...phase, controls, byLeaf, late }
  const scans = phase.scans && readsExchange(left)
  return { ...left, scans }
}

/** Rules that may be looked at, ascending. */
export function liveRules(phase: PreparedPhase): number[] {
  const scanned = [...phase.byLeaf.values()].flat()
  return [...phase.controls, ...scanned].toSorted((one, other) => one - other)
}

/** The leaves whose hits some rule that is left may ask the scan for. */
export function liveLeaves(program: PreparedProgram): ReadonlySet<number> {
  const leaves = new Set<number>()
  for (const phase of program.phases) {
    for (const index of liveRules(phase)) {
      const rule = phase.rules[index]
      if (rule?.guard) leaves.add(rule.guard.within).add(rule.guard.names)
      for (const { test } of rule?.links ?? []) {
        if (test.kind === 'scanned') leaves.add(test.leaf)
        if (test.kind === 'reasoned') leaves.add(test.scannedLeaf)
      }
    }
  }
  return leaves
}

/**
 * What the rules that are left may do. Of all of them it is assumed at first that they never match,
 * and what does not follow from what the others do is taken back: a default that is set when TX
 * has none sets nothing where the start has set it, though it names the member that it reads.
 */
export function effectsOf(program: PreparedProgram): Effects {
  const rules = program.phases.flatMap((phase) =>
    liveRules(phase).flatMap((index) => phase.rules[index] ?? []),
  )
  const transaction = requestless(program)
  let silent: ReadonlySet<PreparedRule> = new Set(rules)
  for (;;) {
    const active = rules.filter((rule) => !silent.has(rule))
    const effects = effectsOfRules(active, program, transaction)
    const still = new Set([...silent].filter((rule) => neverMatches(rule, effects)))
    if (still.size === silent.size) return effects
    silent = still
  }
}

function effectsOfRules(
  rules: readonly PreparedRule[],
  program: PreparedProgram,
  transaction: Transaction,
): Effects {
  const actions = rules.flatMap(({ links }) => links.flatMap(({ link }) => link.actions))
  const names = actions.filter(({ name }) => name === 'setvar').map(assignedName)
  const whole = new Set(names.filter((name) => !name.includes('%{')))
  const prefixes = names.filter((name) => name.includes('%{')).map((name) => name.split('%{', 1)[0])
  const opens = actions.some(
    ({ name, argument }) => name === 'ctl' && /^\s*responseBodyAccess\s*=/i.test(argument),
  )
  return {
    // Captures are the members 0–9.
    sets: (key) =>
      /^\d$/.test(key) || whole.has(key) || prefixes.some((prefix) => key.startsWith(prefix ?? '')),
    removals: removalsOf(actions),
    responseBody: program.settings.responseBodyAccess || opens,
    transaction,
  }
}

/** `!TX.Name=value` → `name`. */
export function assignedName({ argument }: Action): string {
  const target = argument.replace(/^!\s*/, '').split('=', 1)[0]?.trim().toLowerCase() ?? ''
  return target.replace(/^\w+[.:]/, '')
}

function unreachable(phase: PreparedPhase, effects: Effects): ReadonlySet<number> {
  const gone = new Set<number>()
  for (const index of liveRules(phase)) {
    const rule = phase.rules[index]
    if (rule === undefined || gone.has(index)) continue
    if (neverMatches(rule, effects)) gone.add(index)
    else if (alwaysSkips(phase, index, effects)) {
      for (let skipped = index; skipped < rule.next; skipped += 1) gone.add(skipped)
    }
  }
  return gone
}

/** True when a link cannot match, and those before it leave nothing behind when they do. */
function neverMatches(rule: PreparedRule, effects: Effects): boolean {
  const at = rule.links.findIndex((link) => {
    if (!effects.responseBody && readsOnlyResponseBody(link)) return true
    const bare = { ...rule, links: [{ ...link, perValue: [] }] }
    return isConstant(link, effects) && !matches(effects.transaction, bare)
  })
  return at >= 0 && rule.links.slice(0, at).every(leavesNothing)
}

/** True for a jump that every request takes which gets here, over rules it cannot reach else. */
function alwaysSkips(phase: PreparedPhase, index: number, effects: Effects): boolean {
  const rule = phase.rules[index]
  if (rule === undefined || !isQuiet(rule)) return false
  const constant = rule.links.every((link) => isConstant(link, effects) && leavesNothing(link))
  if (!constant || !matches(effects.transaction, rule)) return false
  const skipped = phase.rules.slice(index + 1, rule.next)
  // Another rule may jump into the middle, past this one.
  const entered = phase.rules.some(
    (other, from) =>
      from < index && other.next > index && other.next < rule.next && other.next !== from + 1,
  )
  // A ctl that removes this rule, but not all that it skips, would bring the rest to life.
  const removed = effects.removals.some(
    (removes) => removes(rule.rule) && !skipped.every((one) => removes(one.rule)),
  )
  return !entered && !removed
}

/** True when the link compares one member of TX that stays as it is with a text that does too. */
function isConstant(prepared: PreparedLink, { sets, transaction }: Effects): boolean {
  const { link, txKey, test } = prepared
  if (test.kind === 'always' || txKey === null || sets(txKey)) return false
  return decidesAlone(transaction, prepared) && holdsOnlySettledTx(link.argument, { sets })
}

/** True when every macro of the text is a member of TX that stays as it is after the start. */
export function holdsOnlySettledTx(text: string, { sets }: Pick<Effects, 'sets'>): boolean {
  return [...text.matchAll(/%\{([^}]*)\}/g)].every(([, name = '']) => {
    const key = /^tx[.:](.+)$/i.exec(name)?.[1]
    return key !== undefined && !sets(key.toLowerCase())
  })
}

function readsOnlyResponseBody({ link }: PreparedLink): boolean {
  return (
    !link.negated &&
    link.targets.length > 0 &&
    link.targets.every((target) => target.variable === 'RESPONSE_BODY' && !target.count)
  )
}

/**
 * Takes out rules that do nothing but skip, and skip nothing that is left. Backwards, because that
 * depends only on what comes later.
 */
function withoutIdleSkips(phase: PreparedPhase): PreparedPhase {
  const live = new Set(liveRules(phase))
  for (const index of [...live].toReversed()) {
    const rule = phase.rules[index]
    if (rule === undefined || !isQuiet(rule) || !rule.links.every(leavesNothing)) continue
    let idle = true
    for (let skipped = index + 1; skipped < rule.next; skipped += 1) {
      if (live.has(skipped)) idle = false
    }
    if (idle) live.delete(index)
  }
  return withoutRules(phase, (index) => !live.has(index))
}

/** True when a rule that is left reads what the addon holds. */
function readsExchange(phase: PreparedPhase): boolean {
  return liveRules(phase).some((index) => {
    const rule = phase.rules[index]
    return rule !== undefined && (rule.links.some(readsBytes) || mentionsResponse(rule))
  })
}

/** True when a rule that is left names what only a response can give, as phase 5 may. */
function namesResponse(phase: PreparedPhase): boolean {
  return liveRules(phase).some((index) => {
    const rule = phase.rules[index]
    if (rule === undefined) return false
    const targets = rule.links.flatMap(({ link }) => link.targets)
    return mentionsResponse(rule) || targets.some(({ variable }) => ofResponse.test(variable))
  })
}

const ofResponse = /^(?:RESPONSE_|STATUS_LINE$|OUTBOUND_)/

/** A macro may read the response where no target does. */
function mentionsResponse({ rule, links }: PreparedRule): boolean {
  const texts = [rule.msg, rule.logdata, rule.disruptiveArgument, ...rule.tags]
  for (const { link } of links) {
    texts.push(link.argument, ...link.actions.map(({ argument }) => argument))
  }
  return texts.some((text) => /%\{\s*(?:RESPONSE_|STATUS_LINE|OUTBOUND_)/i.test(text))
}

function readsBytes({ test }: PreparedLink): boolean {
  return test.kind === 'reasoned' ? test.scannedLeaf >= 0 : test.kind !== 'always'
}
