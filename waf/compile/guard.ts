/**
 * Guards: a chain that writes down every value it is given, only to look in the next link whether
 * one of them is on a list, as the CRS does with the names of all request headers:
 *
 *   SecRule REQUEST_HEADERS_NAMES "@rx ^.*$" "capture,setvar:tx.seen_%{tx.0}=/%{tx.0}/,chain"
 *     SecRule TX:/^seen_/ "@within %{tx.forbidden}"
 *
 * When `/name/` is within the list, so is `name`: one more leaf, which asks the scan for that, has
 * a hit on every request that the chain can match. Without one the chain is not run, so it writes
 * nothing. That may be left out because nothing else can see what it would have written:
 *
 * - The members of TX begin with what the second link looks for; nobody else sets such members, and
 *   no other target or macro names one. A target with a pattern either begins otherwise, or names a
 *   text that only the value can bring in: those texts are a second leaf, and its hit lets the
 *   chain run as well. A target that is all of TX, or a name that only runtime knows: no guard.
 * - TX:0 is kept as a promise (`Tx.captureLate`); MATCHED_VAR and its like are forgotten when a
 *   chain fails.
 *
 * Whatever else the first link does, or a pattern that may miss a value: no guard.
 */
import { parseAssignment } from '../actions/assignment.ts'
import type { Guard, ProgramRule } from '../program.ts'
import { assignedName } from '../prune.ts'
import type { Action, Link, Rule, Ruleset } from '../rule.ts'
import { leafOf } from './leaves.ts'
import type { LeafTable } from './leaves.ts'
import type { Target } from '../scan-plan.ts'

/** Patterns that match every text as a whole: `.` is any byte. */
const always = new Set(['^.*$', '^.*', '.*$', '.*'])
const captured = /^%\{tx[.:]0\}$/i

/** The rules that get a guard; adds the leaves for it. */
export function guarded(
  { items }: Ruleset,
  rules: ReadonlyMap<Rule, ProgramRule>,
  table: LeafTable,
): ReadonlyMap<Rule, ProgramRule> {
  const found = new Map<Rule, ProgramRule>()
  const all = items.filter((item) => item.kind === 'rule')
  for (const [rule, compiled] of rules) {
    const prefix = prefixOf(compiled)
    const [head, next] = rule.links
    if (prefix === null || head === undefined || next === undefined) continue
    const texts = textsOfOthers(prefix, rule, all)
    if (texts !== null) found.set(rule, { ...compiled, guard: guardOf(rule, texts, table) })
  }
  return found
}

function guardOf({ phase, links }: Rule, texts: readonly string[], table: LeafTable): Guard {
  const [head, next] = links
  if (head === undefined || next === undefined) throw new Error('a guard stands before two links')
  const bare: Link = { ...head, negated: false, capture: false, entries: [], actions: [] }
  const within = { ...bare, operator: 'within', argument: next.argument }
  const names = { ...bare, operator: 'pm', argument: texts.join(' ') }
  const { targets } = head
  return {
    // Its argument is settled with that of the second link.
    within: table.add(leafOf(within, { phase, targets, dynamic: true })),
    names: texts.length === 0 ? -1 : table.add(leafOf(names, { phase, targets, dynamic: false })),
  }
}

/** What the members begin with that the chain writes and looks for; null when it is no such one. */
function prefixOf({ rule, tests }: ProgramRule): string | null {
  const [head, next, ...more] = rule.links
  const [test] = tests
  if (head === undefined || next === undefined || more.length > 0) return null
  if (test?.kind !== 'scanned' || test.late === true || !head.capture) return null
  if (head.operator !== 'rx' || head.negated || head.multiMatch || !always.has(head.argument))
    return null
  const prefix = writtenPrefix(head.actions)
  const [target] = next.targets
  if (prefix === null || target === undefined || next.targets.length > 1) return null
  const { variable, namePattern, count, exclude } = target
  if (variable !== 'TX' || count || exclude || namePattern?.toLowerCase() !== `^${prefix}`)
    return null
  const isPlain = next.operator === 'within' && !next.negated && !next.multiMatch
  return isPlain && next.transformations.length === 0 ? prefix : null
}

/** `setvar:tx.seen_%{tx.0}=…%{tx.0}…` as the only action → `seen_`. */
function writtenPrefix(actions: readonly Action[]): string | null {
  const [set, ...more] = actions.filter(({ name }) => name !== 'logdata' && name !== 'msg')
  if (set?.name !== 'setvar' || more.length > 0 || set.argument.startsWith('!')) return null
  const { collection, value } = parseAssignment(set.argument)
  const [, prefix, macro = ''] = /^([a-z_]\w*)(%\{[^}]*\})$/.exec(assignedName(set)) ?? []
  if (collection !== 'tx' || prefix === undefined || !captured.test(macro)) return null
  const pieces = /^([^%+-][^%]*)?(%\{[^}]*\})[^%]*$/.exec(value ?? '')
  return captured.test(pieces?.[2] ?? '') ? prefix : null
}

/**
 * Texts of which a value must contain one, where another rule is to see the member; null when that
 * cannot be told.
 */
function textsOfOthers(prefix: string, own: Rule, rules: readonly Rule[]): string[] | null {
  const texts = new Set<string>()
  for (const rule of rules) {
    const writers = rule === own ? rule.links.slice(1) : rule.links
    if (namesMember(rule, prefix)) return null
    if (writers.some(({ actions }) => setsMember(actions, prefix))) return null
    // The second link of the chain itself looks for them, of course.
    const readers = rule === own ? [] : rule.links
    for (const target of readers.flatMap(({ targets }) => targets)) {
      const text = textFor(target, prefix)
      if (text === null) return null
      if (text !== '') texts.add(text)
    }
  }
  return [...texts].toSorted()
}

/** What a value must contain for the target to be the member; as `textBeyond`. */
function textFor(target: Target, prefix: string): string | null {
  const { variable, name, namePattern, exclude } = target
  if (variable !== 'TX' || exclude) return ''
  if (namePattern !== null) return textBeyond(prefix, namePattern.toLowerCase())
  return name === null || name.toLowerCase().startsWith(prefix) ? null : ''
}

/** True when a macro may read a member that begins so. */
function namesMember(rule: Rule, prefix: string): boolean {
  const links = rule.links.flatMap(({ argument, actions }) => [
    argument,
    ...actions.map((action) => action.argument),
  ])
  const texts = [rule.msg, rule.logdata, rule.disruptiveArgument, ...rule.tags, ...links]
  return texts.some((text) =>
    [...text.matchAll(/%\{\s*tx\s*[.:]([^}]*)\}/gi)].some(
      ([, name = '']) => name.includes('%{') || name.toLowerCase().startsWith(prefix),
    ),
  )
}

/** True when a setvar may set a member that begins so. */
function setsMember(actions: readonly Action[], prefix: string): boolean {
  return actions
    .filter(({ name }) => name === 'setvar')
    .map(assignedName)
    .some((name) => {
      const [fixed = ''] = name.split('%{', 1)
      return fixed.startsWith(prefix) || (fixed !== name && prefix.startsWith(fixed))
    })
}

/**
 * What must stand behind the prefix in a name for the pattern to find it; '' when it never does,
 * null when that cannot be told.
 */
function textBeyond(prefix: string, pattern: string): string | null {
  const [, anchor, literal = '', rest] = /^(\^?)([\w-]*)(.*)$/s.exec(pattern) ?? []
  // What follows may be nothing (`.*`), or make the last character optional (`_*`).
  if (rest !== '' && rest !== '.*' && rest !== '*') return null
  const text = rest === '*' ? literal.slice(0, -1) : literal
  if (text === '') return null
  if (anchor === '^') return text.startsWith(prefix) || prefix.startsWith(text) ? null : ''
  if (prefix.includes(text)) return null
  for (let length = 1; length < text.length; length += 1) {
    if (prefix.endsWith(text.slice(0, length))) return null
  }
  return text
}
