/** One link of a rule made ready: what it reads, how it compares, what it does on a match. */
import { actions } from './actions/index.ts'
import type { ActionKind, RunAction } from './actions/index.ts'
import { compileMacro } from './macro.ts'
import type { Macro } from './macro.ts'
import { comparisons, toNumber } from './number.ts'
import type { LinkTest } from './program.ts'
import type { Link } from './rule.ts'
import { geoMembers } from './scanner.ts'
import type { Transaction } from './transaction.ts'
import { compileReader, reasonedVariable } from './variables.ts'
import type { Reader } from './variables.ts'

/** Compares a text and the operator's argument, negation included. */
export type TextTest = (text: string, argument: string) => boolean

/** A text after transformations, where that takes no addon; else null. */
export type PlainText = (text: string) => string | null

/** A link of which nothing is left to parse. */
export interface PreparedLink {
  readonly link: Link
  readonly test: LinkTest
  readonly argument: Macro
  /** Reads the targets that only reasoning knows. */
  readonly readers: readonly Reader[]
  /** Decides without the addon; null where the addon must. */
  readonly ownTest: TextTest | null
  /** TX key of a link that compares just one member of TX: most control rules of the CRS. */
  readonly txKey: string | null
  /** What the transformations make of a text; null where there are none. */
  readonly plain: PlainText | null
  /** Run for each value that matched. */
  readonly perValue: readonly RunAction[]
  /** Run once when the whole rule matched. */
  readonly perRule: readonly RunAction[]
}

/** Operators that cost less than a crossing. Texts are Latin-1 on both sides. */
const textComparisons: Readonly<Record<string, TextTest>> = {
  streq: (text, argument) => text === argument,
  within: (text, argument) => argument.includes(text),
  contains: (text, argument) => text.includes(argument),
  beginswith: (text, argument) => text.startsWith(argument),
  endswith: (text, argument) => text.endsWith(argument),
}

/** Transformations that leave digits alone: the CRS puts some before `@eq 1`. */
const keepsDigits = new Set([
  'compresswhitespace',
  'htmlentitydecode',
  'jsdecode',
  'lowercase',
  'removenulls',
  'removewhitespace',
  'trim',
  'trimleft',
  'trimright',
  'uppercase',
  'urldecode',
  'urldecodeuni',
])

/** What the rule itself carries or the parser resolved; nothing to run. */
const passive = new Set(['logdata', 'msg', 't', 'capture', 'multimatch', 'xmlns', 'pause'])

/** Throws an `Error` with the reason when an action is unknown or its argument makes no sense. */
export function prepareLink(link: Link, test: LinkTest | undefined): PreparedLink {
  if (test === undefined) throw new Error('a link of the chain has no test')
  const own = ownTest(link)
  return {
    link,
    test,
    argument: compileMacro(link.argument),
    readers: readers(link),
    ownTest: own,
    txKey: own === null ? null : onlyTxKey(link),
    plain: own === null || link.transformations.length === 0 ? null : plainText(link),
    perValue: [...locators(link), ...runners(link, 'value')],
    perRule: runners(link, 'rule'),
  }
}

/** True when nothing but MATCHED_VAR and its like tells that the link matched. */
export function leavesNothing({ link, perValue }: PreparedLink): boolean {
  return perValue.length === 0 && (!link.capture || link.negated)
}

function plainText({ transformations }: Link): PlainText | null {
  if (transformations.every((name) => name === 'lowercase')) {
    return (text) => (isAscii.test(text) ? text.toLowerCase() : null)
  }
  const keeps = transformations.every((name) => keepsDigits.has(name))
  return keeps ? (text) => (/^\d*$/.test(text) ? text : null) : null
}

// oxlint-disable-next-line no-control-regex -- ASCII is what it says
const isAscii = /^[\x00-\x7f]*$/

/**
 * True for a link that compares one member of TX and does not match, whatever the addon would make
 * of it. What matches behind a transformation is left to the addon, which says how it came about.
 */
export function refuses(transaction: Transaction, link: PreparedLink): boolean {
  const { txKey, plain, ownTest } = link
  if (txKey === null || plain === null || ownTest === null) return false
  const held = transaction.tx.get(txKey)
  const isCount = link.link.targets[0]?.count === true
  if (held === undefined && !isCount) return true
  const text = plain(isCount ? (held === undefined ? '0' : '1') : (held ?? ''))
  return text !== null && !ownTest(text, link.argument.expand(transaction))
}

/** True when a link that compares one member of TX needs no addon for what that holds now. */
export function decidesAlone(transaction: Transaction, link: PreparedLink): boolean {
  return link.plain === null || refuses(transaction, link)
}

/** `@geoLookup` fills GEO before the link's own actions run. */
function locators({ operator, negated, argument }: Link): RunAction[] {
  if (operator !== 'geolookup' || negated || argument === '') return []
  return [
    (transaction) => {
      const flat = geoMembers(argument, transaction.matchedVar?.value ?? '')
      transaction.geo = flat.flatMap((name, at) =>
        at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : [],
      )
    },
  ]
}

function readers(link: Link): Reader[] {
  const excludes = link.targets.filter((target) => target.exclude)
  return link.targets
    .filter((target) => !target.exclude && reasonedVariable(target.variable))
    .map((target) => compileReader(target, excludes))
}

function ownTest(link: Link): TextTest | null {
  if (link.multiMatch) return null
  // Transformations work on bytes, so those links stay with the addon, but for the plainest texts.
  if (link.transformations.length > 0 && (onlyTxKey(link) === null || plainText(link) === null))
    return null
  const { negated, operator } = link
  const compareTexts = textComparisons[operator]
  if (compareTexts !== undefined) {
    return (text, argument) => compareTexts(text, argument) !== negated
  }
  const compare = comparisons[operator]
  if (compare === undefined) return null
  if (!link.argument.includes('%{')) {
    const limit = toNumber(link.argument)
    return (text) => compare(toNumber(text), limit) !== negated
  }
  return (text, argument) => compare(toNumber(text), toNumber(argument)) !== negated
}

function onlyTxKey(link: Link): string | null {
  const [target] = link.targets
  if (link.targets.length !== 1 || target === undefined) return null
  const { variable, name, namePattern } = target
  return variable === 'TX' && name !== null && namePattern === null ? name.toLowerCase() : null
}

function runners(link: Link, when: ActionKind['when']): RunAction[] {
  const list: RunAction[] = []
  for (const action of link.actions) {
    if (passive.has(action.name)) continue
    const kind = actions[action.name]
    if (kind === undefined) throw new Error(`no action is named "${action.name}"`)
    if (kind.when === when) list.push(kind.make(action.argument))
  }
  return list
}
