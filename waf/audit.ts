/**
 * The audit record: one JSON line per transaction in ModSecurity v3's shape, which collectors parse
 * already, with our own `edge` object. Bodies are never part of it; they stay in the addon.
 */
import { hostname } from 'node:os'

import type { OutcomeFacts } from './facts.ts'
import { matchText } from './log-line.ts'
import type { MatchedRule } from './matched-rule.ts'
import { printable } from './printable.ts'
import type { EngineMode } from './rule.ts'
import type { Transaction } from './transaction.ts'

const limits = {
  uri: 4096,
  headers: 200,
  headerValue: 2048,
  headerName: 256,
  text: 512,
  rules: 200,
}

/** Header values that are credentials. */
const redacted = new Set(['authorization', 'cookie', 'set-cookie', 'proxy-authorization'])

const engineWords: Readonly<Record<EngineMode, string>> = {
  on: 'Enabled',
  off: 'Disabled',
  'detection-only': 'DetectionOnly',
}

/** One line without its line feed; ASCII, so always valid UTF-8. */
export function auditRecord(transaction: Transaction, outcome: OutcomeFacts): string {
  const { facts, program, interruption } = transaction
  return JSON.stringify({
    transaction: {
      client_ip: facts.clientAddress,
      time_stamp: timeStamp(facts.timeMs),
      server_id: hostname(),
      client_port: facts.clientPort,
      host_ip: facts.serverAddress,
      host_port: facts.serverPort,
      unique_id: printable(facts.uniqueId, limits.text),
      is_interrupted: interruption !== null,
      request: {
        method: printable(facts.method, limits.text),
        http_version: Number(facts.httpVersion),
        hostname: printable(facts.hostname, limits.text),
        uri: printable(facts.uri, limits.uri),
        headers: headers(facts.headers),
      },
      response: {
        http_code: outcome.status,
        headers: headers(transaction.response?.headers ?? []),
      },
      producer: {
        modsecurity: 'quic-proxy-waf',
        connector: 'quic-proxy-waf',
        secrules_engine: engineWords[transaction.engine],
        components: program.components,
      },
      messages: messages(transaction).map(message),
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

/** Rules that audit, and always the one that stopped the exchange. */
function messages(transaction: Transaction): readonly MatchedRule[] {
  return transaction.matched
    .filter((match) => match.rule.auditLog || match.interruption !== null)
    .slice(-limits.rules)
}

function message(match: MatchedRule): object {
  const { rule } = match
  return {
    message: printable(match.message, limits.text),
    details: {
      match: matchText(match),
      reference: '',
      ruleId: String(rule.id),
      file: rule.source.file,
      lineNumber: String(rule.source.line),
      data: printable(match.data, limits.text),
      severity: String(rule.severity ?? 0),
      ver: rule.ver,
      rev: rule.rev,
      tags: match.tags.map((tag) => printable(tag, limits.text)),
      maturity: rule.maturity === '' ? '0' : rule.maturity,
      accuracy: rule.accuracy === '' ? '0' : rule.accuracy,
    },
  }
}

/** By name as received; a repeated name keeps all its values, joined as RFC 9110 §5.3 allows. */
function headers(fields: readonly (readonly [string, string])[]): Record<string, string> {
  const record = new Map<string, string>()
  for (const [name, value] of fields.slice(0, limits.headers)) {
    const key = printable(name, limits.headerName)
    const secret = redacted.has(name.toLowerCase())
    const shown = secret ? '[redacted]' : printable(value, limits.headerValue)
    const earlier = record.get(key)
    record.set(key, earlier === undefined ? shown : `${earlier}, ${shown}`)
  }
  return Object.fromEntries(record)
}

/** `Sat Nov 21 02:29:44 2026`, as C's `asctime`, in UTC. */
function timeStamp(timeMs: number): string {
  const [day, date, month, year, time] = new Date(timeMs).toUTCString().split(' ')
  return `${day?.replace(',', '')} ${month} ${date} ${time} ${year}`
}
