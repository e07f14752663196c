/** The directives that make rules: SecRule, SecAction, SecMarker, SecDefaultAction. */
import type { Action } from '../rule.ts'
import type { Target } from '../scan-plan.ts'
import { groupOf, parseActions } from './actions.ts'
import { disruptiveOf, lastArgument, type LinkDraft, type RuleDraft } from './draft.ts'
import { parseOperator, type OperatorUse } from './operators.ts'
import { phaseOf } from './phases.ts'
import type { Place } from './reading.ts'
import { parseTargets } from './targets.ts'

const unconditional: OperatorUse = {
  operator: 'unconditionalmatch',
  negated: false,
  argument: '',
  entries: [],
}

/** `SecRule VARIABLES "OPERATOR" "ACTIONS"`. */
export function secRule(words: readonly string[], place: Place): void {
  const targets = parseTargets(words[0] ?? '', place.reportIn(0))
  const use = parseOperator(words[1] ?? '', place.source.file, place.reportIn(1))
  addLink(targets, use ?? unconditional, actionsIn(words, 2, place), place)
}

/** `SecAction "ACTIONS"`: a rule that always matches. */
export function secAction(words: readonly string[], place: Place): void {
  addLink([], unconditional, actionsIn(words, 0, place), place)
}

/** `SecMarker NAME`: where skipAfter lands. */
export function secMarker(words: readonly string[], place: Place): void {
  place.reading.items.push({ kind: 'marker', name: words[0] ?? '' })
}

/** `SecDefaultAction "phase:2,log,auditlog,deny"`: for the rules of its phase that come after. */
export function secDefaultAction(words: readonly string[], place: Place): void {
  const actions = parseActions(words[0] ?? '', place.reportIn(0))
  const phase = phaseOf(lastArgument(actions, 'phase') ?? '')
  const disruptive = disruptiveOf(actions)
  if (phase === null) place.report('SecDefaultAction names no phase', 'add phase:1 to phase:5')
  if (disruptive === null || disruptive.name === 'block') {
    place.report('SecDefaultAction says not what block does', 'add pass, deny or another')
  }
  const misplaced = actions.find((action) => notInDefaults.has(action.name))
  if (misplaced !== undefined) {
    place.report(`SecDefaultAction cannot hold ${misplaced.name}`, 'write it in the rules')
  }
  if (phase === null) return
  place.reading.defaults = new Map([...place.reading.defaults, [phase, actions]])
}

const notInDefaults: ReadonlySet<string> = new Set([
  'id',
  'chain',
  'msg',
  'rev',
  'ver',
  'severity',
  'skip',
  'skipafter',
])

/** What only the head of a chain may say, besides disruptive actions. */
const headOnly: ReadonlySet<string> = new Set(['id', 'phase', 'skip', 'skipafter', 'status'])

/** Accepted for old rule sets; nothing here does them. */
const withoutEffect: ReadonlySet<string> = new Set(['pause', 'xmlns', 'deprecatevar'])

function actionsIn(words: readonly string[], index: number, place: Place): Action[] {
  return parseActions(words[index] ?? '', place.reportIn(index))
}

function addLink(
  targets: readonly Target[],
  use: OperatorUse,
  actions: readonly Action[],
  place: Place,
): void {
  for (const action of actions) {
    if (withoutEffect.has(action.name)) {
      place.notice(`action ${action.name} has no effect`, 'remove it if that is a surprise')
    }
  }
  const link: LinkDraft = { source: place.source, targets, use, actions }
  const rule = place.reading.openChain === null ? newRule(link, place) : nextLink(link, place)
  const { reading } = place
  if (reading.openChain === null) reading.items.push(rule)
  else reading.items[reading.items.length - 1] = rule
  reading.openChain = actions.some((action) => action.name === 'chain') ? rule : null
}

function newRule(link: LinkDraft, place: Place): RuleDraft {
  const id = readId(link.actions, place)
  const { source, reading } = place
  return { kind: 'rule', id, source, defaults: reading.defaults, links: [link] }
}

function nextLink(link: LinkDraft, place: Place): RuleDraft {
  const { openChain } = place.reading
  if (openChain === null) return newRule(link, place)
  const misplaced = link.actions.find(
    (action) => headOnly.has(action.name) || groupOf(action.name) === 'disruptive',
  )
  if (misplaced !== undefined) {
    const head = `the rule that begins the chain (line ${openChain.source.line})`
    place.report(`${misplaced.name} in a chained rule`, `move it to ${head}, or end that chain`)
  }
  return { ...openChain, links: [...openChain.links, link] }
}

function readId(actions: readonly Action[], place: Place): number {
  const written = lastArgument(actions, 'id')
  if (written === null) {
    place.report('the rule has no id', 'add id: with a number that no other rule has')
    return 0
  }
  const id = Number(written)
  // parseActions has reported it.
  if (!Number.isSafeInteger(id) || id <= 0) return 0
  const first = place.reading.ids.get(id)
  if (first === undefined) place.reading.ids.set(id, place.source)
  else place.report(`id ${id} is taken by ${first.file}:${first.line}`, 'choose another id')
  return id
}
