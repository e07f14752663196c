/**
 * The audit record: one JSON line per transaction in ModSecurity v3's shape, which collectors parse
 * already, with our own `edge` object. SecAuditLogParts says which parts it has.
 */
import { hostname } from 'node:os'

import { defaultSecrets, Redaction, stars } from './evidence/redact.ts'
import type { ExchangeFacts, OutcomeFacts } from './facts.ts'
import { matchText, reference } from './log-line.ts'
import type { MatchedRule } from './matched-rule.ts'
import { readable } from './readable.ts'
import type { EngineMode } from './rule.ts'
import type { Witness } from './scanner.ts'
import type { Transaction } from './transaction.ts'

const limits = {
  uri: 4096,
  headers: 200,
  headerValue: 2048,
  headerName: 256,
  text: 512,
  rules: 200,
  tags: 32,
  files: 100,
}

/** Where an audit record takes from what the transaction itself does not hold. */
export interface AuditOptions {
  readonly redaction: Redaction
  /** Null: records have no bodies. */
  readonly witness: Witness | null
  /** Most bytes of a body that a record shows. */
  readonly bodyBytesMax: number
}

const defaults: AuditOptions = {
  redaction: new Redaction(defaultSecrets),
  witness: null,
  bodyBytesMax: 65_536,
}

const engineWords: Readonly<Record<EngineMode, string>> = {
  on: 'Enabled',
  off: 'Disabled',
  'detection-only': 'DetectionOnly',
}

/** True when the exchange belongs in the audit log: SecAuditEngine, SecAuditLogRelevantStatus. */
export function isAuditable(transaction: Transaction, { status }: OutcomeFacts): boolean {
  const { engine, auditEngine, interruption, matched, program } = transaction
  if (engine === 'off' || auditEngine === 'off') return false
  if (auditEngine === 'on' || interruption !== null) return true
  if (program.relevantStatus?.test(String(status)) === true) return true
  return matched.some((match) => match.rule.auditLog)
}

/** One line without its line feed; always well-formed UTF-8. */
export function auditRecord(
  transaction: Transaction,
  outcome: OutcomeFacts,
  options: AuditOptions = defaults,
): string {
  const { facts, interruption, auditLogParts: parts } = transaction
  return JSON.stringify({
    transaction: {
      client_ip: facts.clientAddress,
      time_stamp: timeStamp(facts.timeMs),
      server_id: hostname(),
      client_port: facts.clientPort,
      host_ip: facts.serverAddress,
      host_port: facts.serverPort,
      unique_id: readable(facts.uniqueId, limits.text),
      is_interrupted: interruption !== null,
      request: request(transaction, options),
      response: response(transaction, outcome, options),
      ...(parts.includes('H') ? trailer(transaction, options) : {}),
      ...(parts.includes('K') ? { matched_rules: matchedRules(transaction) } : {}),
    },
    edge: {
      score: transaction.scores,
      mode: transaction.mode,
      route: facts.route,
      verdict: interruption?.action ?? 'pass',
      rule_id: interruption?.ruleId ?? null,
    },
  })
}

function request(transaction: Transaction, options: AuditOptions): object {
  const { facts, auditLogParts: parts } = transaction
  const { redaction } = options
  const withBody = parts.includes('C') || (parts.includes('I') && !isMultipart(facts))
  return {
    method: readable(facts.method, limits.text),
    http_version: Number(facts.httpVersion),
    hostname: readable(facts.hostname, limits.text),
    uri: readable(redaction.text(facts.uri), limits.uri),
    ...(withBody ? body(transaction, false, options) : {}),
    ...(parts.includes('B') ? { headers: headers(facts.headers, redaction) } : {}),
    ...(parts.includes('J') && isMultipart(facts) ? { files: files(transaction) } : {}),
  }
}

function response(transaction: Transaction, outcome: OutcomeFacts, options: AuditOptions): object {
  const { auditLogParts: parts } = transaction
  return {
    ...(parts.includes('E') ? body(transaction, true, options) : {}),
    http_code: outcome.status,
    ...(parts.includes('F')
      ? { headers: headers(transaction.response?.headers ?? [], options.redaction) }
      : {}),
  }
}

function trailer(transaction: Transaction, { redaction }: AuditOptions): object {
  return {
    producer: {
      modsecurity: 'quic-proxy-waf',
      connector: 'quic-proxy-waf',
      secrules_engine: engineWords[transaction.engine],
      components: transaction.program.components,
    },
    messages: messages(transaction).map((match) => message(match, redaction)),
  }
}

/** `{ body }`, and `body_bytes` with its length where it was cut. */
function body(
  { facts }: Transaction,
  ofResponse: boolean,
  { witness, bodyBytesMax, redaction }: AuditOptions,
): object {
  if (witness === null) return {}
  const of = { response: ofResponse, bytesMax: bodyBytesMax }
  const { text, length } = witness.body(facts.handle, of)
  if (length === 0) return { body: '' }
  const shown = readable(redaction.text(text), bodyBytesMax)
  return length > text.length ? { body: shown, body_bytes: length } : { body: shown }
}

function isMultipart({ headers: fields }: ExchangeFacts): boolean {
  const type = fields.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
  return type.trimStart().toLowerCase().startsWith('multipart/')
}

function files({ scanner, facts }: Transaction): object[] {
  const sizes = scanner.variable(facts.handle, 'FILES_SIZES', '')
  return scanner
    .variable(facts.handle, 'FILES', '')
    .slice(0, limits.files)
    .map(({ name, value }, index) => ({
      field: readable(name ?? '', limits.text),
      name: readable(value, limits.text),
      size: Number(sizes[index]?.value ?? 0),
    }))
}

/** Rules that audit, and always the one that stopped the exchange. */
function messages(transaction: Transaction): readonly MatchedRule[] {
  return transaction.matched
    .filter((match) => match.rule.auditLog || match.interruption !== null)
    .slice(-limits.rules)
}

function message(match: MatchedRule, redaction: Redaction): object {
  const { rule, value } = match
  const secret =
    value !== null && redaction.hides(value.variable.split(':', 1)[0] ?? '', memberOf(value))
  const shown =
    value !== null && secret ? { ...match, value: { ...value, value: stars(value.value) } } : match
  return {
    message: readable(match.message, limits.text),
    details: {
      match: matchText(shown, (text, max) => readable(redaction.text(text), max)),
      reference: reference(match),
      ruleId: String(rule.id),
      file: rule.source.file,
      lineNumber: String(rule.source.line),
      data: secret ? '[redacted]' : readable(redaction.text(match.data), limits.text),
      severity: String(rule.severity ?? 0),
      ver: rule.ver,
      rev: rule.rev,
      tags: match.tags.slice(0, limits.tags).map((tag) => readable(tag, limits.text)),
      maturity: rule.maturity === '' ? '0' : rule.maturity,
      accuracy: rule.accuracy === '' ? '0' : rule.accuracy,
    },
  }
}

function memberOf({ variable }: { readonly variable: string }): string | null {
  const colon = variable.indexOf(':')
  return colon < 0 ? null : variable.slice(colon + 1)
}

/** Part K: every rule that matched and is kept, in order. */
function matchedRules({ matched }: Transaction): object[] {
  return matched.slice(0, limits.rules).map(({ rule }) => ({
    ruleId: String(rule.id),
    file: rule.source.file,
    lineNumber: String(rule.source.line),
    phase: rule.phase,
  }))
}

/** By name as received; a repeated name keeps all its values, joined as RFC 9110 §5.3 allows. */
function headers(
  fields: readonly (readonly [string, string])[],
  redaction: Redaction,
): Record<string, string> {
  const record = new Map<string, string>()
  for (const [name, value] of fields.slice(0, limits.headers)) {
    const key = readable(name, limits.headerName)
    const secret = redaction.isSecret(name)
    const shown = secret ? '[redacted]' : readable(redaction.text(value), limits.headerValue)
    const earlier = record.get(key)
    record.set(key, earlier === undefined ? shown : `${earlier}, ${shown}`)
  }
  return Object.fromEntries(record)
}

/** `Sat Nov  1 02:29:44 2026`, as C's `asctime`, in UTC. */
function timeStamp(timeMs: number): string {
  const [day, date, month, year, time] = new Date(timeMs).toUTCString().split(' ')
  const padded = String(Number(date)).padStart(2)
  return `${day?.replace(',', '')} ${month} ${padded} ${time} ${year}`
}
