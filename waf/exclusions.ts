/** What `ctl:ruleRemove…` took out of one transaction: whole rules, or targets of rules. */
import type { Rule } from './rule.ts'
import type { Target } from './scan-plan.ts'
import { selector } from './variables.ts'
import type { Value } from './variables.ts'

type RuleTest = (rule: Rule) => boolean
export type TargetTest = (value: Value) => boolean

/** What the route takes out before any rule runs. */
export interface StandingExclusions {
  readonly rules: ReadonlySet<Rule>
  readonly targets: ReadonlyMap<Rule, TargetTest>
}

/** Takes nothing out. */
export const noExclusions: StandingExclusions = { rules: new Set(), targets: new Map() }

/** The removals of one transaction. Empty for most of them, so asking must cost next to nothing. */
export class Exclusions {
  readonly standing: StandingExclusions
  readonly #rules: RuleTest[] = []
  readonly #targets: { readonly rule: RuleTest; readonly hidden: TargetTest }[] = []

  constructor(standing: StandingExclusions = noExclusions) {
    this.standing = standing
  }

  removeRules(rules: RuleTest): void {
    this.#rules.push(rules)
  }

  removeTarget(rule: RuleTest, hidden: TargetTest): void {
    this.#targets.push({ rule, hidden })
  }

  /** True when rules were taken out while others ran. */
  get hasRemovedRules(): boolean {
    return this.#rules.length > 0
  }

  /** True when targets were taken out while rules ran. */
  get hasHiddenTargets(): boolean {
    return this.#targets.length > 0
  }

  /** True when the rule is not to run. */
  removes(rule: Rule): boolean {
    if (this.standing.rules.has(rule)) return true
    for (const removed of this.#rules) if (removed(rule)) return true
    return false
  }

  /** The test for values the rule must not see; null when it sees all. */
  hides(rule: Rule): TargetTest | null {
    const standing = this.standing.targets.get(rule) ?? null
    let tests: TargetTest[] | null = null
    for (const one of this.#targets) if (one.rule(rule)) (tests ??= []).push(one.hidden)
    if (tests === null) return standing
    if (standing !== null) tests.push(standing)
    return (value) => tests.some((hidden) => hidden(value))
  }
}

/**
 * For `ctl:ruleRemoveById`: rules by id, but no SecAction, which ModSecurity v3 runs all the same
 * (a removal by tag stops it).
 */
export function removableById(text: string): RuleTest {
  const named = rulesById(text)
  return (rule) => named(rule) && !isAction(rule)
}

/** `942100`, `1-999999`, `942100,942110-942120`: rules by id. Throws on anything else. */
export function rulesById(text: string): RuleTest {
  const pieces = text.replaceAll(/\s*-\s*/g, '-').split(/[\s,]+/)
  const ranges = pieces.filter((piece) => piece !== '').map(range)
  if (ranges.length === 0) throw new Error('expected a rule id or a range of ids')
  return (rule) => ranges.some(([first, last]) => rule.id >= first && rule.id <= last)
}

function range(text: string): readonly [number, number] {
  const found = /^(\d+)(?:-(\d+))?$/.exec(text)
  if (found === null) throw new Error(`"${text}" is no rule id or range of ids`)
  const first = Number(found[1])
  return [first, found[2] === undefined ? first : Number(found[2])]
}

/** True for a SecAction, which has nothing to test. */
export function isAction(rule: Rule): boolean {
  return rule.links[0]?.targets.length === 0
}

/** Rules that carry the tag, compared whole as ModSecurity v3 does. */
export function rulesByTag(tag: string): RuleTest {
  return (rule) => rule.tags.includes(tag)
}

/** Rules with that message, compared whole as written in the rule. */
export function rulesByMsg(msg: string): RuleTest {
  return (rule) => rule.msg === msg
}

/** `ARGS:password`, `ARGS:/^x/`, `REQUEST_COOKIES`, several with `|` or `,` between them. */
export function targets(text: string): TargetTest {
  const tests = text
    .split(/[|,]/)
    .filter((piece) => piece.trim() !== '')
    .map(target)
  if (tests.length === 0) throw new Error('expected a target such as ARGS:name')
  return (value) => tests.some((hides) => hides(value))
}

function target(text: string): TargetTest {
  const expression = parseTarget(text.trim())
  // An XPath names the whole document: hits carry no path to compare with.
  const whole = expression.variable === 'XML' && expression.name === '/*'
  const selects = whole ? () => true : selector(expression)
  return (value) => value.variable === expression.variable && selects(value.name)
}

function parseTarget(text: string): Pick<Target, 'variable' | 'name' | 'namePattern'> {
  const at = text.indexOf(':')
  if (at < 0) return { variable: text.toUpperCase(), name: null, namePattern: null }
  const variable = text.slice(0, at).toUpperCase()
  const name = text.slice(at + 1).replace(/^'(.*)'$/, '$1')
  const found = /^\/(.+)\/$/.exec(name)
  return found === null
    ? { variable, name, namePattern: null }
    : { variable, name: null, namePattern: found[1] ?? '' }
}
