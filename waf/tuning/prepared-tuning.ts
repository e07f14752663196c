/** A route's exclusions ready to run: which rules go, and what others do not see, by request. */
import type { StandingExclusions, TargetTest } from '../exclusions.ts'
import { isAction, noExclusions } from '../exclusions.ts'
import { hidesTx } from '../removals.ts'
import type { Rule } from '../rule.ts'
import { compileExclusionTarget } from './exclusion-target.ts'
import type { Exclusion } from './tuning.ts'

/** Combinations of scoped exclusions that are remembered; clients choose paths, not exclusions. */
const combinationsMax = 256

/** What a request is told from another by. */
export interface RequestScope {
  readonly method: string
  readonly path: string
}

/** True when the exclusion names the rule. */
function selects(exclusion: Exclusion, rule: Rule): boolean {
  // What holds for some requests only is a `ctl:ruleRemoveById`, which lets a SecAction run.
  const byId = !isScoped(exclusion) || exclusion.targets.length > 0 || !isAction(rule)
  return (
    (byId && exclusion.rules.some(({ first, last }) => rule.id >= first && rule.id <= last)) ||
    exclusion.tags.some((tag) => rule.tags.includes(tag))
  )
}

/** True when it holds for some requests of a route only. */
export function isScoped({ paths, methods }: Exclusion): boolean {
  return paths.length > 0 || methods.length > 0
}

/** True when the rule never runs because of it. */
export function removesRule(exclusion: Exclusion, rule: Rule): boolean {
  return !isScoped(exclusion) && exclusion.targets.length === 0 && selects(exclusion, rule)
}

/** True when the rule does not run for some requests, or runs without some of TX. */
export function removesForSome(exclusion: Exclusion, rule: Rule): boolean {
  const { targets } = exclusion
  const changes = targets.length === 0 ? isScoped(exclusion) : targets.some(hidesTx)
  return changes && selects(exclusion, rule)
}

/** The exclusions of one route. */
export class PreparedExclusions {
  readonly #always: StandingExclusions
  readonly #scoped: readonly ScopedExclusion[]
  readonly #combined = new Map<string, StandingExclusions>()

  constructor(exclusions: readonly Exclusion[], rules: readonly Rule[]) {
    const always = exclusions.filter((one) => !isScoped(one))
    this.#always = combine(always.map((one) => standing(one, rules)))
    this.#scoped = exclusions.filter(isScoped).map((one) => ({
      holds: scopeTest(one),
      standing: standing(one, rules),
    }))
  }

  /** What is taken out for this request; asked once, before phase 1. */
  for(request: RequestScope): StandingExclusions {
    if (this.#scoped.length === 0) return this.#always
    const held: number[] = []
    for (const [index, { holds }] of this.#scoped.entries()) if (holds(request)) held.push(index)
    if (held.length === 0) return this.#always
    const key = held.join()
    const known = this.#combined.get(key)
    if (known !== undefined) return known
    const chosen = held.flatMap((index) => this.#scoped[index]?.standing ?? [])
    const combined = combine([this.#always, ...chosen])
    if (this.#combined.size >= combinationsMax) this.#combined.clear()
    this.#combined.set(key, combined)
    return combined
  }
}

interface ScopedExclusion {
  readonly holds: (request: RequestScope) => boolean
  readonly standing: StandingExclusions
}

function scopeTest({ paths, methods }: Exclusion): ScopedExclusion['holds'] {
  const whole = new Set(paths.filter((path) => !path.endsWith('*')))
  const beginnings = paths.filter((path) => path.endsWith('*')).map((path) => path.slice(0, -1))
  return ({ method, path }) => {
    if (methods.length > 0 && !methods.includes(method)) return false
    if (paths.length === 0 || whole.has(path)) return true
    return beginnings.some((beginning) => path.startsWith(beginning))
  }
}

function standing(exclusion: Exclusion, rules: readonly Rule[]): StandingExclusions {
  const chosen = rules.filter((rule) => selects(exclusion, rule))
  if (exclusion.targets.length === 0) return { rules: new Set(chosen), targets: new Map() }
  const hidden = anyOf(exclusion.targets.map(compileExclusionTarget))
  return { rules: new Set(), targets: new Map(chosen.map((rule) => [rule, hidden])) }
}

function combine(all: readonly StandingExclusions[]): StandingExclusions {
  if (all.length === 0) return noExclusions
  const [only] = all
  if (all.length === 1 && only !== undefined) return only
  const rules = new Set(all.flatMap((one) => [...one.rules]))
  const tests = new Map<Rule, TargetTest[]>()
  for (const [rule, hidden] of all.flatMap((one) => [...one.targets])) {
    const known = tests.get(rule)
    if (known === undefined) tests.set(rule, [hidden])
    else known.push(hidden)
  }
  return { rules, targets: new Map([...tests].map(([rule, hidden]) => [rule, anyOf(hidden)])) }
}

function anyOf(tests: readonly TargetTest[]): TargetTest {
  const [only] = tests
  return tests.length === 1 && only !== undefined
    ? only
    : (value) => tests.some((hidden) => hidden(value))
}
