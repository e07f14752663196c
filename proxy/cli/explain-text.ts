/** What `edge explain` tells a person: what stopped the request, why, and step by step. */
import { stopsOf } from '../../waf/evidence/exclusion.ts'
import type { Contribution, Stop } from '../../waf/evidence/exclusion.ts'
import type {
  Excerpt,
  LinkEvidence,
  MatchEvidence,
  ValueEvidence,
  WafEvidence,
} from '../../waf/evidence/evidence.ts'
import { readable } from '../../waf/readable.ts'
import type { ReadEvent } from '../events/event-json.ts'

/** How a text is shown. */
export interface Look {
  /** Marks what matched; null where the output is no terminal. */
  readonly colors: boolean
}

const severities = [
  'emergency',
  'alert',
  'critical',
  'error',
  'warning',
  'notice',
  'info',
  'debug',
] as const
const labelColumns = 18
const highlight = ['\u001b[7m', '\u001b[27m'] as const
const strong = ['\u001b[1m', '\u001b[22m'] as const

/** All lines of the explanation but the exclusion. */
export function explanation({ fields, evidence }: ReadEvent, look: Look): string[] {
  const lines = heading(fields)
  if (evidence === null) return [...lines, '', withoutEvidence(fields)]
  const stops = stopsOf(evidence)
  if (stops.length === 0) lines.push('', 'Nothing stopped it; these rules matched:')
  const told = new Set<MatchEvidence>()
  for (const stop of stops) {
    lines.push('', ...stopLines(stop, look))
    told.add(stop.match)
    for (const { match } of stop.contributors) told.add(match)
  }
  const others = evidence.matches.filter((match) => !told.has(match))
  if (others.length > 0 && stops.length > 0) lines.push('', 'Also matched, without points in this:')
  for (const match of others) {
    lines.push(`  ${match.ruleId}  ${plain(match.message)}`)
    if (stops.length === 0) lines.push(...matchLines(match, look))
  }
  return [...lines, ...incomplete(evidence)]
}

function heading(fields: ReadEvent['fields']): string[] {
  const field = (name: string): string => {
    const value = fields[name]
    return typeof value === 'string' || typeof value === 'number' ? plain(String(value)) : ''
  }
  const route = field('http.route')
  const protocol = field('network.protocol.version')
  return [
    `${field('http.request.method')} ${field('url.path')} → ${field('http.response.status_code')}` +
      (field('edge.waf.verdict') === '' ? '' : ` (${field('edge.waf.verdict')})`),
    [
      `request ${field('request.id')}`,
      field('timestamp'),
      `client ${field('client.address')}`,
      ...(protocol === '' ? [] : [`HTTP/${protocol}`]),
      ...(field('server.address') === '' ? [] : [`host ${field('server.address')}`]),
      ...(route === '' ? [] : [`route ${route}`]),
    ].join(', '),
  ]
}

function withoutEvidence(fields: ReadEvent['fields']): string {
  const error = fields['error.type']
  if (typeof error === 'string') return `No rule stopped it: it ended with ${plain(error)}.`
  return 'The WAF has nothing to tell about it.'
}

function incomplete({ complete, matches, matchesLeftOut }: WafEvidence): string[] {
  if (matchesLeftOut === 0) return []
  const why = complete ? '' : ': more requests matched than evidence is made for'
  const less = `${matchesLeftOut} ${matches.length === 0 ? '' : 'more '}matches are not told${why}`
  return ['', less]
}

function stopLines({ match, threshold, contributors }: Stop, look: Look): string[] {
  const { ruleId, phase, message, interruption } = match
  const verb = interruption === null ? 'Would be stopped' : 'Stopped'
  const by = bold(`${verb} by ${ruleId}`, look)
  const where = phase === 0 ? '' : ` in phase ${phase}`
  const lines = [`${by} "${plain(message)}"${where}`, `  ${place(match)}`]
  if (threshold === null) return [...lines, ...matchLines(match, look)]
  const sum = contributors.reduce((points, one) => points + one.points, 0)
  lines.push(`  ${sum} points from the rules below; the threshold is ${threshold}`)
  let score = 0
  for (const contribution of contributors) {
    score += contribution.points
    lines.push('', ...contributionLines(contribution, score, look))
  }
  return lines
}

function contributionLines({ match, points }: Contribution, score: number, look: Look): string[] {
  const { ruleId, message, paranoiaLevel, severity } = match
  const level = paranoiaLevel === null ? '' : `, paranoia level ${paranoiaLevel}`
  const grade = severity === null ? '' : ` (${severities[severity] ?? severity}${level})`
  return [
    `  ${bold(`+${points} = ${score}  ${ruleId}`, look)}  ${plain(message)}${grade}`,
    `      ${place(match)}`,
    ...matchLines(match, look),
  ]
}

function place({ file, line }: MatchEvidence): string {
  return `${plain(file)}:${line}`
}

function matchLines({ links, changes }: MatchEvidence, look: Look): string[] {
  const lines = links.flatMap((link, index) => linkLines(link, index, look))
  const sets = changes.map(
    ({ name, before, after }) => `${plain(name)} ${plain(before) || '(none)'} → ${plain(after)}`,
  )
  return sets.length === 0 ? lines : [...lines, `      sets ${sets.join(', ')}`]
}

function linkLines(link: LinkEvidence, index: number, look: Look): string[] {
  const { operator, negated, argument, values, valuesLeftOut } = link
  const shown = plain(argument.length > 60 ? `${argument.slice(0, 60)}…` : argument)
  const test = `${negated ? 'not ' : ''}@${operator}${shown === '' ? '' : ` ${shown}`}`
  const chained = index === 0 ? '' : 'and '
  const lines = values.flatMap((value) => [
    `      ${chained}${bold(plain(value.variable), look)}  ${test}`,
    ...valueLines(value, look),
  ])
  if (values.length === 0) lines.push(`      ${chained}${test}`)
  if (valuesLeftOut > 0) lines.push(`      and ${valuesLeftOut} more values`)
  return lines
}

function valueLines(value: ValueEvidence, look: Look): string[] {
  const { before, steps, span, captures, redacted } = value
  if (redacted) return [row('as received', `(secret, ${before.length} bytes)`)]
  const last = steps.findLast(({ after }) => after !== null)?.after ?? before
  const found = span === null ? '' : last.text.slice(span.start - last.offset).slice(0, span.length)
  const lines = [row('as received', marked(before, found, look))]
  for (const { transformation, after } of steps) {
    if (after !== null) lines.push(row(`t:${transformation}`, marked(after, found, look)))
  }
  const unchanged = steps.filter(({ after }) => after === null).map((step) => step.transformation)
  if (unchanged.length > 0) lines.push(row('unchanged by', unchanged.join(', ')))
  if (found !== '') lines.push(row('found', plain(found)))
  else if (captures[0] !== undefined) lines.push(row('captured', plain(captures[0])))
  return lines
}

function row(label: string, text: string): string {
  return `        ${label.padEnd(labelColumns)}${text}`
}

/** The text, cut marks where it was cut, and what was found in it highlighted. */
function marked({ text, offset, length }: Excerpt, found: string, { colors }: Look): string {
  const at = found === '' || !colors ? -1 : text.toLowerCase().indexOf(found.toLowerCase())
  const shown =
    at < 0
      ? plain(text)
      : plain(text.slice(0, at)) +
        highlight.join(plain(text.slice(at, at + found.length))) +
        plain(text.slice(at + found.length))
  const end = offset + text.length < length ? `… (${length} bytes)` : ''
  return `${offset > 0 ? '…' : ''}${shown}${end}`
}

function bold(text: string, { colors }: Look): string {
  return colors ? strong.join(text) : text
}

/** Nothing that a client sent may move the cursor or hide what follows. */
function plain(text: string): string {
  return readable(text, text.length).replaceAll(
    /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/gu,
    (character) => {
      const code = character.codePointAt(0) ?? 0
      return code > 0xff ? `\\u{${code.toString(16)}}` : `\\x${code.toString(16).padStart(2, '0')}`
    },
  )
}
