/** The text line that ModSecurity v3 writes for a matched rule: what log readers already know. */
import type { ExchangeFacts } from './facts.ts'
import { transformationName } from './matched-rule.ts'
import type { MatchedRule } from './matched-rule.ts'
import { printable } from './printable.ts'
import type { Rule } from './rule.ts'

/** Bytes of each field that reach the line, before escaping. */
const limits = {
  value: 100,
  parameter: 200,
  data: 200,
  uri: 200,
  variable: 200,
  message: 512,
  tag: 100,
  tags: 32,
  short: 256,
  reference: 512,
}

/** What every line of a rule, or of an exchange, says alike: written once. */
interface RuleFields {
  readonly source: string
  readonly message: string
  readonly kind: string
  readonly tags: string
}

interface ExchangeFields {
  readonly client: string
  readonly request: string
}

const ruleFields = new WeakMap<Rule, RuleFields>()
/** Of the exchange that was told last: the lines of one come together. */
let told: { readonly facts: ExchangeFacts; readonly fields: ExchangeFields } | null = null

/** One line without its line feed; always printable ASCII. */
export function logLine(match: MatchedRule, facts: ExchangeFacts): string {
  const { rule } = match
  const { source, message, kind, tags } = fieldsOfRule(rule)
  const { client, request } = fieldsOfExchange(facts)
  // Texts with macros differ from what the rule itself says.
  const said = match.message === rule.msg ? message : messageField(match.message)
  const isPlain = match.tags.every((tag, index) => tag === rule.tags[index])
  const tagged = isPlain && match.tags.length === rule.tags.length ? tags : tagFields(match.tags)
  const data = field('data', match.data, limits.data)
  const ref = field('ref', reference(match), limits.reference)
  const event = `${consequence(match)} ${matchText(match)}`
  const fields = `${source} ${said} ${data} ${kind}${tagged} ${request} ${ref}`
  return `${client} ModSecurity: ${event} ${fields}`
}

function fieldsOfRule(rule: Rule): RuleFields {
  const known = ruleFields.get(rule)
  if (known !== undefined) return known
  const source = [
    field('file', rule.source.file),
    field('line', String(rule.source.line)),
    field('id', String(rule.id)),
    field('rev', rule.rev),
  ]
  const kind = [
    field('severity', String(rule.severity ?? 0)),
    field('ver', rule.ver),
    field('maturity', rule.maturity === '' ? '0' : rule.maturity),
    field('accuracy', rule.accuracy === '' ? '0' : rule.accuracy),
  ]
  const fields = {
    source: source.join(' '),
    message: messageField(rule.msg),
    kind: kind.join(' '),
    tags: tagFields(rule.tags),
  }
  ruleFields.set(rule, fields)
  return fields
}

function fieldsOfExchange(facts: ExchangeFacts): ExchangeFields {
  if (told?.facts === facts) return told.fields
  const request = [
    field('hostname', facts.hostname === '' ? facts.serverAddress : facts.hostname),
    field('uri', facts.uri.split('?', 1)[0] ?? '', limits.uri),
    field('unique_id', facts.uniqueId),
  ]
  const client = `[client ${printable(facts.clientAddress, limits.short)}]`
  const fields = { client, request: request.join(' ') }
  told = { facts, fields }
  return fields
}

function messageField(message: string): string {
  return field('msg', message, limits.message)
}

/** Each with a blank before it. */
function tagFields(tags: readonly string[]): string {
  return tags
    .slice(0, limits.tags)
    .map((tag) => ` ${field('tag', tag, limits.tag)}`)
    .join('')
}

/**
 * ``Matched "Operator `Rx' with parameter `…' against variable `ARGS:id' (Value: `…' )``; `show`
 * makes the untrusted texts fit for where it is written.
 */
export function matchText(
  match: MatchedRule,
  show: (text: string, max: number) => string = printable,
): string {
  if (match.value === null) return 'Unconditional match in SecAction.'
  const parameter = show(match.value.parameter, limits.parameter)
  const variable = show(match.value.variable, limits.variable)
  const value = show(match.value.value, limits.value)
  return (
    `Matched "Operator \`${match.value.operator}' with parameter \`${parameter}' ` +
    `against variable \`${variable}' (Value: \`${value}' )`
  )
}

/**
 * `o3,6o5,3t:urlDecodeUni,t:lowercase`: where the last link's operator found what it captured,
 * group by group, and after which transformations. ModSecurity's `v`, the value's place in the raw
 * request, is not known here.
 */
export function reference({ notes }: MatchedRule): string {
  const noted = notes?.links.at(-1)
  if (noted === undefined) return ''
  const value = noted.values.at(-1)
  const names = noted.link.transformations
    .filter((name) => name !== 'none')
    .map((name) => `t:${transformationName(name)}`)
  const found = (value?.captures ?? []).map((group) => place(group, value?.value ?? ''))
  return `${found.join('')}${names.join(',')}`
}

function place(group: string | null, value: string): string {
  const at = group === null || group === '' ? -1 : value.indexOf(group)
  return at < 0 ? '' : `o${at},${group?.length}`
}

function consequence(match: MatchedRule): string {
  const { interruption } = match
  if (interruption === null) return 'Warning.'
  return `Access denied with code ${interruption.status} (phase ${interruption.phase}).`
}

function field(name: string, value: string, max: number = limits.short): string {
  return `[${name} "${printable(value, max)}"]`
}
