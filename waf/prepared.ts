/**
 * A program made ready to run in one worker: macros and actions understood, jumps resolved, and
 * each phase split into the rules that a clean request never reaches and those it must.
 */
import { notePlan } from './evidence/trail.ts'
import type { NotePlan } from './evidence/trail.ts'
import { fold, isBlindOption } from './fold.ts'
import { compileMacro } from './macro.ts'
import type { Macro } from './macro.ts'
import { leavesNothing, prepareLink } from './prepared-link.ts'
import type { PreparedLink } from './prepared-link.ts'
import type { Guard, Program, ProgramRule } from './program.ts'
import { prune, withoutRules } from './prune.ts'
import { QuietPhases } from './quiet-phase.ts'
import type { EngineSettings, Rule } from './rule.ts'
import { reasonOf } from './reason-of.ts'

/** A rule with its macros compiled and its jump resolved. */
export interface PreparedRule {
  readonly rule: Rule
  readonly links: readonly PreparedLink[]
  readonly message: Macro
  readonly data: Macro
  readonly tags: readonly Macro[]
  readonly redirect: Macro
  /** Null when its matches are not kept. */
  readonly notes: NotePlan | null
  readonly guard: Guard | null
  /** True when a match does the same whatever its values are, and nobody is told of it. */
  readonly isBlind: boolean
  /** Scanned leaves: unless all of them have hits, the rule fails without a trace. */
  readonly needs: readonly number[]
  /** Index of the rule to go on with after this one matched: skip and skipAfter resolved. */
  readonly next: number
}

/** The rules of one phase, and which of them to look at. */
export interface PreparedPhase {
  readonly rules: readonly PreparedRule[]
  /** Rules to look at for every request, ascending: no scanned leaf decides that they fail. */
  readonly controls: readonly number[]
  /** Rules to look at when the first leaf that they need has hits. */
  readonly byLeaf: ReadonlyMap<number, readonly number[]>
  /** Rules to look at as well once `ctl:` has changed what the scan saw, ascending. */
  readonly late: readonly number[]
  readonly scans: boolean
}

/** What every transaction of a worker shares; never changed. */
export interface PreparedProgram {
  readonly plan: number
  readonly settings: EngineSettings
  readonly components: readonly string[]
  /** SecAuditLogRelevantStatus; null when none was written. */
  readonly relevantStatus: RegExp | null
  /** Index 1–5, as in `Program`. */
  readonly phases: readonly PreparedPhase[]
  /** TX as every transaction finds it: what the rules that depend on no request have set. */
  readonly initialTx: ReadonlyMap<string, string>
  /** Null for a program that remembers nothing. */
  readonly quiet: QuietPhases | null
  /** True when phase 3 or 4 depends on the response. */
  readonly readsResponse: boolean
  /** Lower-case, from SecResponseBodyMimeType. */
  readonly responseMimeTypes: ReadonlySet<string>
}

/** Understands all actions and macros; throws an `Error` with file and line where it cannot. */
export function prepare(program: Program): PreparedProgram {
  return specialize(prepareUnfolded(program))
}

/** Rules, by id, that a variant of the program does without. */
export interface Without {
  /** For every request. */
  readonly absent: ReadonlySet<number>
  /** For some requests only, so nothing may rely on their running or not running. */
  readonly doubtful: ReadonlySet<number>
}

const nothing: Without = { absent: new Set(), doubtful: new Set() }

/** Folds and prunes; rules are shared with the program that is given. */
export function specialize(plain: PreparedProgram, without: Without = nothing): PreparedProgram {
  const { absent, doubtful } = without
  const isAbsent = ({ rules }: PreparedPhase, index: number): boolean =>
    absent.has(rules[index]?.rule.id ?? 0)
  const isDoubtful = ({ id }: Rule): boolean => doubtful.has(id)
  const present = absent.size === 0 ? plain : withoutAbsent(plain, isAbsent)
  const [, first] = present.phases
  const gone = (index: number): boolean => first !== undefined && isAbsent(first, index)
  const folded = fold(present, gone, isDoubtful)
  const phases = present.phases.map((phase, number) =>
    number === 1 ? withoutRules(phase, (index) => folded.rules.has(index)) : phase,
  )
  const pruned = prune({ ...present, phases, initialTx: folded.tx }, isDoubtful)
  return { ...pruned, quiet: new QuietPhases(pruned) }
}

function withoutAbsent(
  plain: PreparedProgram,
  isAbsent: (phase: PreparedPhase, index: number) => boolean,
): PreparedProgram {
  const phases = plain.phases.map((phase) => withoutRules(phase, (index) => isAbsent(phase, index)))
  return { ...plain, phases }
}

/** The same with every rule left to run: the truth that folding is tested against. */
export function prepareUnfolded(program: Program): PreparedProgram {
  const { settings, plan, components } = program
  return {
    plan,
    settings,
    components,
    relevantStatus: relevantStatus(settings),
    phases: program.phases.map((items, phase) =>
      preparePhase(items, program.scans[phase] === true),
    ),
    initialTx: new Map(),
    quiet: null,
    readsResponse: true,
    responseMimeTypes: new Set(settings.responseBodyMimeTypes.map((type) => type.toLowerCase())),
  }
}

function relevantStatus({ auditLogRelevantStatus }: EngineSettings): RegExp | null {
  return auditLogRelevantStatus === '' ? null : new RegExp(auditLogRelevantStatus)
}

/** The program with another rule in the place of the one with its id, and of no other effect. */
export function replaceRule(plain: PreparedProgram, item: ProgramRule): PreparedProgram {
  const phases = plain.phases.map((phase, number) => {
    if (number !== item.rule.phase) return phase
    const rules = phase.rules.map((rule) =>
      rule.rule.id === item.rule.id ? prepareRule(item, rule.next) : rule,
    )
    return { ...phase, rules }
  })
  return { ...plain, phases }
}

function preparePhase(items: readonly (ProgramRule | string)[], scans: boolean): PreparedPhase {
  const rules: PreparedRule[] = []
  const controls: number[] = []
  const late: number[] = []
  const byLeaf = new Map<number, number[]>()
  for (const [place, item] of items.entries()) {
    if (typeof item === 'string') continue
    const index = rules.length
    const next = goOn(items, place, index)
    const prepared = located(item.rule, () => prepareRule(item, next))
    rules.push(prepared)
    if (item.tests.some((test) => test.kind === 'scanned' && test.late === true)) late.push(index)
    const { needs, guard } = prepared
    if (needs.length === 0) controls.push(index)
    const first = guard === null ? needs.slice(0, 1) : [guard.within, guard.names]
    for (const leaf of first) {
      const sharing = byLeaf.get(leaf)
      if (sharing === undefined) byLeaf.set(leaf, [index])
      else sharing.push(index)
    }
  }
  return { rules, controls, byLeaf, late, scans }
}

function prepareRule(item: ProgramRule, next: number): PreparedRule {
  const { rule } = item
  const links = rule.links.map((link, index) => prepareLink(link, item.tests[index]))
  const data = rule.links.flatMap((link) => link.actions).findLast((one) => one.name === 'logdata')
  return {
    rule,
    links,
    message: compileMacro(rule.msg),
    data: compileMacro(data?.argument ?? rule.logdata),
    tags: rule.tags.map(compileMacro),
    redirect: compileMacro(rule.disruptiveArgument),
    notes: notePlan(rule),
    guard: item.guard ?? null,
    isBlind: isBlind(rule, links),
    needs: needsOf(links),
    next,
  }
}

/** True for the likes of `"@rx …" "pass,nolog,ctl:ruleRemoveById=…"`. */
function isBlind(rule: Rule, links: readonly PreparedLink[]): boolean {
  if (rule.log || rule.auditLog || rule.disruptive !== 'pass' || rule.severity !== null)
    return false
  return links.every(({ link, test, perValue }) => {
    if (test.kind !== 'scanned' || perValue.length > 0 || (link.capture && !link.negated))
      return false
    return link.actions.every(({ name, argument }) => {
      if (name === 'logdata' || name === 'msg') return true
      return name === 'ctl' && isBlindOption(argument)
    })
  })
}

/** A chain fails without a trace when no link before the one that fails leaves anything behind. */
function needsOf(links: readonly PreparedLink[]): number[] {
  const first = links.findIndex((link) => !leavesNothing(link))
  const decisive = links.slice(0, first < 0 ? links.length : first + 1)
  return decisive.flatMap(({ test }) => (test.kind === 'scanned' ? [test.leaf] : []))
}

/** Where to go on after the rule at `place` matched; past the end when its marker never comes. */
function goOn(items: readonly (ProgramRule | string)[], place: number, index: number): number {
  const item = items[place]
  if (item === undefined || typeof item === 'string') return index + 1
  const { skip, skipAfter } = item.rule
  if (skipAfter === '') return index + 1 + skip
  let next = index + 1
  for (const later of items.slice(place + 1)) {
    if (typeof later === 'string') {
      if (later === skipAfter) return next
      continue
    }
    next += 1
    // ModSecurity 2 allows a rule's id in a marker's place.
    if (String(later.rule.id) === skipAfter) return next
  }
  return next
}

function located<Result>(rule: Rule, make: () => Result): Result {
  try {
    return make()
  } catch (cause) {
    const { file, line } = rule.source
    const reason = reasonOf(cause)
    throw new Error(`${file}:${line}: rule ${rule.id}: ${reason}`, { cause })
  }
}
