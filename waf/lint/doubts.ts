/** Rules that can never match, or do nothing when they do. */
import type { Link, Rule, SecLangFault } from '../rule.ts'
import { boundedBecause } from './patterns.ts'

/** Why a link can never match; null when it may. */
type Judge = (link: Link, phase: number) => { readonly why: string; readonly mend: string } | null

const judges: readonly Judge[] = [
  neverMatches,
  excludesAll,
  readsTooEarly,
  comparesOtherCase,
  hasNoEntries,
  comparesNoNumber,
]

/** What of this rule can hardly be meant. */
export function doubtsAbout(rule: Rule): SecLangFault[] {
  const doubts = rule.links.flatMap((link) =>
    judges.flatMap((judge) => {
      const found = judge(link, rule.phase)
      return found === null ? [] : [at(link, `rule ${rule.id}: ${found.why}`, found.mend)]
    }),
  )
  const stops = !['pass', 'allow'].includes(rule.disruptive)
  const [head] = rule.links
  if (rule.phase !== 5 || !stops || head === undefined) return doubts
  const why = `rule ${rule.id}: ${rule.disruptive} does nothing in phase 5, the answer is sent`
  return [...doubts, at(head, why, 'write pass, or another phase')]
}

const patternOperators: ReadonlySet<string> = new Set([
  'rx',
  'rxglobal',
  'verifycc',
  'verifycpf',
  'verifyssn',
  'verifysvnr',
])

/** What is good to know of this rule. */
export function notesAbout(rule: Rule): SecLangFault[] {
  return rule.links.flatMap((link) => {
    const reason = patternOperators.has(link.operator) ? boundedBecause(link.argument) : null
    if (reason === null) return []
    const message = `rule ${rule.id}: the pattern has ${reason}, so the bounded engine runs it`
    return [at(link, message, 'write it without, so that it runs in linear time')]
  })
}

function at(link: Link, message: string, mend: string): SecLangFault {
  return { ...link.source, column: 1, message, mend }
}

function neverMatches({ operator, negated, targets }: Link): ReturnType<Judge> {
  const never =
    (operator === 'nomatch' && !negated) ||
    (operator === 'unconditionalmatch' && negated && targets.length > 0)
  if (!never) return null
  return { why: `${negated ? '!' : ''}@${operator} never matches`, mend: 'remove the rule' }
}

function excludesAll({ targets }: Link): ReturnType<Judge> {
  const shown = targets.filter((target) => !target.exclude)
  if (targets.length === 0) return null
  const gone = shown.every(({ variable, name }) =>
    targets.some(
      (other) =>
        other.exclude &&
        other.variable === variable &&
        (isWhole(other) || (name !== null && other.name?.toLowerCase() === name.toLowerCase())),
    ),
  )
  if (!gone) return null
  return { why: 'its exclusions leave no variable', mend: 'remove the rule, or an exclusion' }
}

function isWhole({ name, namePattern }: Link['targets'][number]): boolean {
  return name === null && namePattern === null
}

/** The first phase in which a variable holds anything. */
function firstPhase(variable: string): number {
  if (/^(?:RESPONSE_BODY|OUTBOUND_DATA_ERROR)$/.test(variable)) return 4
  if (/^(?:RESPONSE_|STATUS_LINE$)/.test(variable)) return 3
  if (/^(?:FILES|MULTIPART_|XML$|ARGS_POST|REQBODY_ERROR|REQUEST_BODY)/.test(variable)) return 2
  return 1
}

function readsTooEarly({ targets, negated }: Link, phase: number): ReturnType<Judge> {
  const shown = targets.filter((target) => !target.exclude)
  // A count and a negated operator may well be meant to see that nothing is there.
  if (negated || shown.length === 0 || shown.some(({ count }) => count)) return null
  if (shown.some(({ variable }) => firstPhase(variable) <= phase)) return null
  const [first] = shown
  const variable = first?.variable ?? ''
  const mend = `write phase:${firstPhase(variable)} or a later one`
  return { why: `${variable} holds nothing in phase ${phase}`, mend }
}

const comparing: ReadonlySet<string> = new Set([
  'streq',
  'contains',
  'containsword',
  'beginswith',
  'endswith',
  'strmatch',
])

function comparesOtherCase({ operator, argument, transformations }: Link): ReturnType<Judge> {
  if (!comparing.has(operator) || argument.includes('%{')) return null
  const last = transformations.findLast((name) => name === 'lowercase' || name === 'uppercase')
  // What decodes or encodes behind it may bring the other case back.
  if (last === undefined || transformations.at(-1) !== last) return null
  const lost = last === 'lowercase' ? /[A-Z]/ : /[a-z]/
  if (!lost.test(argument)) return null
  const why = `@${operator} ${argument} never matches behind t:${last}`
  return { why, mend: `write the argument in ${last === 'lowercase' ? 'lower' : 'upper'} case` }
}

function hasNoEntries({ operator, entries, negated }: Link): ReturnType<Judge> {
  const lists = ['pm', 'pmfromfile', 'ipmatchfromfile'].includes(operator)
  if (!lists || entries.length > 0 || negated) return null
  return { why: `@${operator} has no entries`, mend: 'fill its file, or remove the rule' }
}

function comparesNoNumber({ operator, argument }: Link): ReturnType<Judge> {
  if (!['eq', 'ge', 'gt', 'le', 'lt'].includes(operator)) return null
  if (/^\s*[+-]?\d/.test(argument) || argument.includes('%{')) return null
  return { why: `@${operator} ${argument} compares with 0`, mend: 'write a number' }
}
