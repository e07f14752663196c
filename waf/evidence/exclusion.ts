/**
 * The narrowest exclusion that would have let one exchange pass: of the rules that made the score,
 * as few as bring it below the threshold; of each, only the variables that matched.
 */
import type { LinkEvidence, MatchEvidence, WafEvidence } from './evidence.ts'
import { counterOf } from './score.ts'

/** What is excluded of one rule. */
export interface ExcludedRule {
  readonly ruleId: number
  readonly message: string
  /** `ARGS:q`, `REQUEST_URI`; null: the rule as a whole. */
  readonly targets: readonly ExcludedTarget[] | null
  /** Why nothing narrower can be excluded; '' when it is one member of a collection. */
  readonly why: string
}

/** A variable that a rule is not to see. */
export interface ExcludedTarget {
  readonly variable: string
  /** Null for the variable as a whole. */
  readonly name: string | null
  /** The name was cut: all names that begin so. */
  readonly isPrefix: boolean
}

/** What to exclude, and for which requests. */
export interface Exclusion {
  readonly method: string
  /** REQUEST_FILENAME, one character per byte. */
  readonly filename: string
  readonly rules: readonly ExcludedRule[]
  /** Rules that may go on counting: their points stay below the threshold. */
  readonly tolerated: readonly number[]
  /** What a reviewer should know. */
  readonly notes: readonly string[]
}

/** A rule that stopped an exchange, or would have, and what it counted. */
export interface Stop {
  readonly match: MatchEvidence
  /** Null when it judges by itself and not by points. */
  readonly threshold: number | null
  readonly contributors: readonly Contribution[]
}

/** The points that a rule gave to what stopped the exchange. */
export interface Contribution {
  readonly match: MatchEvidence
  readonly points: number
}

/** Names are kept up to this length. */
export const nameBytesMax = 256

/** Every rule that stopped the exchange or, where nothing is stopped, would have. */
export function stopsOf(evidence: WafEvidence): readonly Stop[] {
  const { matches } = evidence
  const interrupted = matches.filter(({ interruption }) => interruption !== null)
  const stopping =
    interrupted.length > 0
      ? interrupted
      : matches.filter(({ disruptive }) => disruptive !== 'pass' && disruptive !== 'allow')
  return stopping.map((match) => stopOf(match, evidence))
}

/** Null when nothing was stopped, or the evidence does not say by what. */
export function narrowest(evidence: WafEvidence): Exclusion | null {
  const stops = stopsOf(evidence)
  if (stops.length === 0) return null
  const excluded = new Map<number, MatchEvidence>()
  const tolerated = new Set<number>()
  for (const { threshold, contributors } of stops) {
    const split = enough(contributors, threshold)
    for (const { match } of split.excluded) excluded.set(match.ruleId, match)
    for (const { match } of split.tolerated) tolerated.add(match.ruleId)
  }
  if (excluded.size === 0) return null
  const rules = [...excluded.values()].map(excludedRule)
  return {
    method: evidence.method,
    filename: evidence.filename,
    rules,
    tolerated: [...tolerated].filter((ruleId) => !excluded.has(ruleId)),
    notes: notesOf(evidence, stops),
  }
}

function stopOf(match: MatchEvidence, { matches, paranoia }: WafEvidence): Stop {
  const link = match.links[0]
  const counted = link?.values.find(({ collection }) => collection === 'TX')?.name?.toLowerCase()
  const own = { match, threshold: null, contributors: [{ match, points: 0 }] }
  if (link === undefined || counted === undefined) return own
  const side = counted.includes('outbound') ? 'outbound' : 'inbound'
  const isScore = counted.includes('anomaly_score')
  const pointsOf = ({ changes }: MatchEvidence): number => {
    let points = 0
    for (const { name, before, after } of changes) {
      const counts = counterOf(name)
      const isCounted = isScore
        ? counts?.side === side && counts.level <= (paranoia.blocking || 4)
        : name === `tx.${counted}`
      if (isCounted) points += (Number(after) || 0) - (Number(before) || 0)
    }
    return points
  }
  const contributors = matches
    .slice(0, matches.indexOf(match))
    .map((one) => ({ match: one, points: pointsOf(one) }))
    .filter(({ points }) => points > 0)
  if (contributors.length === 0 && !isScore) return own
  return { match, threshold: Number(link.argument) || null, contributors }
}

/** As many rules as may stay go on counting, those with the fewest points first. */
function enough(
  contributors: readonly Contribution[],
  threshold: number | null,
): { readonly excluded: readonly Contribution[]; readonly tolerated: readonly Contribution[] } {
  const ascending = contributors.toSorted((one, other) => one.points - other.points)
  const tolerated = new Set<Contribution>()
  let sum = 0
  for (const contribution of ascending) {
    sum += contribution.points
    if (threshold === null || sum >= threshold) break
    tolerated.add(contribution)
  }
  return {
    excluded: contributors.filter((one) => !tolerated.has(one)),
    tolerated: [...tolerated],
  }
}

/** ctl:ruleRemoveTargetById names what the first link of a chain reads. */
function excludedRule({ ruleId, message, links }: MatchEvidence): ExcludedRule {
  const [head] = links
  const found = head === undefined ? 'nothing tells which variable it read' : targetsOf(head)
  return typeof found === 'string'
    ? { ruleId, message, targets: null, why: found }
    : { ruleId, message, ...found }
}

/** The targets to take from a link, or why the rule must go as a whole. */
function targetsOf(
  link: LinkEvidence,
): { readonly targets: readonly ExcludedTarget[]; readonly why: string } | string {
  const { values, targets, valuesLeftOut } = link
  if (values.length === 0) return 'it reads no variable'
  const read = targets.filter((target) => !target.startsWith('!'))
  const counts = values.find(({ name, collection }) =>
    name === null ? read.some((target) => target.startsWith(`&${collection}`)) : false,
  )
  if (counts !== undefined) return `it counts ${counts.collection}, and a count has no members`
  const whole = values.filter(({ name }) => name === null).map(({ collection }) => collection)
  const others = read.filter((target) => !whole.includes(target.split(':', 1)[0] ?? ''))
  if (whole.length > 0 && others.length === 0) {
    return `it reads nothing but ${[...new Set(whole)].join(', ')}`
  }
  if (valuesLeftOut > 0) {
    const all = [...new Set(values.map(({ collection }) => collection))]
    const why = `it matched ${values.length + valuesLeftOut} values, more than are told`
    return { targets: all.map((variable) => ({ variable, name: null, isPrefix: false })), why }
  }
  const unique = new Map(
    values.map(({ variable, collection, name }) => [
      variable.toLowerCase(),
      { variable: collection, name, isPrefix: name !== null && name.length >= nameBytesMax },
    ]),
  )
  const scalars = [...new Set(whole)].join(', ')
  return {
    targets: [...unique.values()],
    why: scalars === '' ? '' : `${scalars} has no members; the rule still reads the others`,
  }
}

function notesOf(evidence: WafEvidence, stops: readonly Stop[]): string[] {
  const notes: string[] = []
  if (evidence.matchesLeftOut > 0) {
    notes.push(`${evidence.matchesLeftOut} more rules matched than are told: it may take more`)
  }
  const alone = stops.find(
    ({ match, threshold }) => threshold === null && match.interruption !== null,
  )
  if (alone !== undefined) {
    notes.push('rules after the one that stopped it did not run: another one may stop it then')
  }
  return notes
}
