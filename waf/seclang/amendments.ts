/**
 * `SecRuleRemove*` and `SecRuleUpdate*`: they change rules written elsewhere. As in ModSecurity 3
 * they hold for all rules whatever the order, so that a setup file can amend rules loaded later.
 */
import type { Action, Source } from '../rule.ts'
import type { Target } from '../scan-plan.ts'
import { parseActions } from './actions.ts'
import type { LinkDraft, RuleDraft } from './draft.ts'
import type { Report } from './faults.ts'
import type { Place } from './reading.ts'
import { parseTargets, sameTarget } from './targets.ts'

/** One change to the rules it selects. */
export interface Amendment {
  readonly source: Source
  readonly directive: string
  readonly selects: (rule: RuleDraft) => boolean
  /** Null takes the rule away. */
  readonly amend: (rule: RuleDraft) => RuleDraft | null
}

type Selects = Amendment['selects']

/** `SecRuleRemoveById 1 10-19`. */
export function removeById(words: readonly string[], place: Place): void {
  add(place, selectById(words.join(' '), place.report), () => null)
}

/** `SecRuleRemoveByTag attack-sqli`. */
export function removeByTag(words: readonly string[], place: Place): void {
  add(place, selectByTag(words[0] ?? '', place.reportIn(0)), () => null)
}

/** `SecRuleRemoveByMsg "SQL Injection"`. */
export function removeByMsg(words: readonly string[], place: Place): void {
  add(place, selectByMsg(words[0] ?? '', place.reportIn(0)), () => null)
}

/** `SecRuleUpdateTargetById 942100:1 "!ARGS:q"`. */
export function updateTargetById(words: readonly string[], place: Place): void {
  const { ids, link } = splitOffset(words[0] ?? '')
  add(place, selectById(ids, place.reportIn(0)), newTargets(words, link, place))
}

/** `SecRuleUpdateTargetByTag attack-sqli "!ARGS:q"`. */
export function updateTargetByTag(words: readonly string[], place: Place): void {
  add(place, selectByTag(words[0] ?? '', place.reportIn(0)), newTargets(words, 0, place))
}

/** `SecRuleUpdateTargetByMsg "SQL Injection" "!ARGS:q"`. */
export function updateTargetByMsg(words: readonly string[], place: Place): void {
  add(place, selectByMsg(words[0] ?? '', place.reportIn(0)), newTargets(words, 0, place))
}

/** `SecRuleUpdateActionById 942100 "pass,log"`: what it says is added and, being last, wins. */
export function updateActionById(words: readonly string[], place: Place): void {
  const { ids, link } = splitOffset(words[0] ?? '')
  const actions = parseActions(words[1] ?? '', place.reportIn(1))
  const fixed = actions.find((action) => ['id', 'chain'].includes(action.name))
  if (fixed !== undefined) place.report(`${fixed.name} cannot be updated`, 'leave it out')
  add(place, selectById(ids, place.reportIn(0)), (rule) =>
    withLink(rule, link, (old) => ({ ...old, actions: [...old.actions, ...actions] })),
  )
}

function add(place: Place, selects: Selects | null, amend: Amendment['amend']): void {
  if (selects === null) return
  const { source, directive } = place
  place.reading.amendments.push({ source, directive, selects, amend })
}

function selectById(text: string, report: Report): Selects | null {
  const ranges = text.split(/[\s,]+/).filter((part) => part !== '')
  const bounds = ranges.map((range) => /^(\d+)(?:-(\d+))?$/.exec(range))
  if (bounds.length === 0 || bounds.includes(null)) {
    report(`"${text}" is no list of ids`, 'write ids or ranges such as 942100 942200-942299')
    return null
  }
  return (rule) =>
    bounds.some((bound) => {
      const low = Number(bound?.[1])
      return rule.id >= low && rule.id <= Number(bound?.[2] ?? low)
    })
}

function selectByTag(text: string, report: Report): Selects | null {
  return selectByArgument('tag', text, report)
}

function selectByMsg(text: string, report: Report): Selects | null {
  return selectByArgument('msg', text, report)
}

/**
 * ModSecurity v3 compares the tag or message whole; its manual promises a regular expression found
 * anywhere in it. Both hold here: a text that cannot be but a pattern is one as well, so that a
 * plain `attack` takes no more away than it does in ModSecurity.
 */
function selectByArgument(name: string, text: string, report: Report): Selects | null {
  if (text === '') {
    report(`the ${name} is empty`, `write the ${name} of the rules that are meant`)
    return null
  }
  const pattern = patternIn(text)
  const meant = ({ name: own, argument }: Action): boolean =>
    own === name && (argument === text || pattern?.test(argument) === true)
  return (rule) => rule.links.some((link) => link.actions.some(meant))
}

/** Null for a plain text; for a text such as `Attack (/../` too, which is no valid pattern. */
function patternIn(text: string): RegExp | null {
  if (!/[\\^$*+?[\]|{}()]/.test(text)) return null
  try {
    return new RegExp(text)
  } catch {
    return null
  }
}

function splitOffset(text: string): { ids: string; link: number } {
  const parts = /^(.*):(\d+)$/.exec(text)
  return { ids: parts?.[1] ?? text, link: Number(parts?.[2] ?? 0) }
}

function newTargets(words: readonly string[], at: number, place: Place): Amendment['amend'] {
  const added = parseTargets(words[1] ?? '', place.reportIn(1))
  const replaced = words[2] === undefined ? [] : parseTargets(words[2], place.reportIn(2))
  const stays = (target: Target): boolean => !replaced.some((old) => sameTarget(old, target))
  return (rule) =>
    withLink(rule, at, (link) => ({ ...link, targets: [...link.targets.filter(stays), ...added] }))
}

/** A rule with fewer links than the offset says stays as it is. */
function withLink(rule: RuleDraft, at: number, change: (link: LinkDraft) => LinkDraft): RuleDraft {
  const links = rule.links.map((link, index) => (index === at ? change(link) : link))
  return { ...rule, links }
}

/** Applies all amendments in order; those that change nothing are noted, since it may be a typo. */
export function applyAmendments(
  items: Place['reading']['items'],
  amendments: readonly Amendment[],
  unused: (amendment: Amendment) => void,
): Place['reading']['items'] {
  let current = items
  for (const amendment of amendments) {
    let used = false
    current = current.flatMap((item) => {
      if (item.kind === 'marker' || !amendment.selects(item)) return [item]
      used = true
      const amended = amendment.amend(item)
      return amended === null ? [] : [amended]
    })
    if (!used) unused(amendment)
  }
  return current
}
