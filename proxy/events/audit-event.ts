/**
 * An audit record as an event: ours, or one that ModSecurity v3 wrote. It tells less: no text
 * before the last transformation, and points only by severity.
 */
import type { MatchEvidence, ValueEvidence, WafEvidence } from '../../waf/evidence/evidence.ts'
import { noPoints } from '../../waf/evidence/score.ts'
import type { ReadEvent } from './event-json.ts'

/** What is read of a record; anything may be missing. */
interface AuditMessage {
  readonly message?: unknown
  readonly details?: Readonly<Record<string, unknown>>
}

interface AuditTransaction {
  readonly unique_id?: unknown
  readonly client_ip?: unknown
  readonly time_stamp?: unknown
  readonly request?: Readonly<Record<string, unknown>>
  readonly response?: Readonly<Record<string, unknown>>
  readonly messages?: readonly AuditMessage[]
}

/** `details.match`; parameters and values may hold anything. */
const written = new RegExp(
  "Operator `(\\w+)' with parameter `([^]*?)' " +
    "against variable `([^]*?)' \\(Value: `([^]*)' \\)",
)

/** CRS's points by severity: critical, error, warning, notice. */
const pointsBySeverity: Readonly<Record<number, number>> = { 2: 5, 3: 4, 4: 3, 5: 2 }
const counter = 'anomaly_score_pl1'

/** The event of that request; null when the line is about another one, or no record. */
export function auditEvent(line: string, requestId: string): ReadEvent | null {
  // Most lines are about others: a search is cheaper than reading them all.
  if (!line.includes(requestId)) return null
  const record = parsed(line)
  const { transaction, edge } = record
  if (transaction?.unique_id !== requestId) return null
  const uri = bytesOf(text(transaction.request?.['uri']))
  const path = uri.split('?', 1)[0] ?? ''
  const method = text(transaction.request?.['method'])
  const stopped = edge?.['verdict'] === 'pass' ? null : (edge?.['rule_id'] ?? null)
  const matches = matchesOf(transaction.messages ?? []).map((match): MatchEvidence => {
    if (match.ruleId !== stopped) return match
    const interruption = edge?.['verdict'] === 'redirect' ? 'redirect' : 'deny'
    return { ...match, disruptive: 'deny', interruption }
  })
  const evidence: WafEvidence = {
    engine: 'on',
    paranoia: { blocking: 4, detection: 4 },
    threshold: { inbound: 5, outbound: 4 },
    method,
    filename: decoded(path),
    matches,
    matchesLeftOut: 0,
    complete: false,
  }
  return {
    fields: {
      timestamp: transaction.time_stamp,
      'request.id': requestId,
      'client.address': transaction.client_ip,
      'http.request.method': method,
      'url.path': path,
      'http.response.status_code': transaction.response?.['http_code'],
      'edge.waf.mode': edge?.['mode'],
      'edge.waf.verdict': edge?.['verdict'],
      'http.route': edge?.['route'],
    },
    evidence,
  }
}

function parsed(line: string): {
  readonly transaction?: AuditTransaction
  readonly edge?: Readonly<Record<string, unknown>>
} {
  try {
    return JSON.parse(line)
  } catch {
    return {} // a line that another program was still writing
  }
}

function matchesOf(messages: readonly AuditMessage[]): MatchEvidence[] {
  let inbound = 0
  let outbound = 0
  return messages.map(({ message, details = {} }) => {
    const tags = Array.isArray(details['tags']) ? details['tags'].map(text) : []
    const severity = Number(details['severity'] ?? 0)
    const value = valueOf(text(details['match']))
    const operator = value?.operator ?? ''
    const evaluates =
      value?.variable.startsWith('TX:') === true && /anomaly_score/i.test(value.variable)
    const file = text(details['file'])
    const isOutbound = file.includes('RESPONSE-')
    const side = isOutbound ? 'outbound_' : 'inbound_'
    const points = evaluates ? 0 : (pointsBySeverity[severity] ?? 0)
    const before = isOutbound ? outbound : inbound
    if (isOutbound) outbound += points
    else inbound += points
    return {
      ruleId: Number(details['ruleId'] ?? 0),
      file,
      line: Number(details['lineNumber'] ?? 0),
      phase: 0,
      message: text(message),
      data: text(details['data']),
      severity,
      paranoiaLevel: null,
      tags,
      version: text(details['ver']),
      disruptive: evaluates ? 'deny' : 'pass',
      interruption: null,
      links:
        value === null
          ? []
          : [
              {
                line: Number(details['lineNumber'] ?? 0),
                // What else the rule reads is not written: it is taken to read other things, too.
                targets: [value.evidence.collection, 'ARGS'],
                operator,
                negated: false,
                argument: value.parameter,
                transformations: [],
                values: [value.evidence],
                valuesLeftOut: 0,
              },
            ],
      changes:
        points === 0
          ? []
          : [
              {
                name: `tx.${side}${counter}`,
                before: String(before),
                after: String(before + points),
              },
            ],
      score: { before: noPoints, after: noPoints },
    }
  })
}

function valueOf(match: string): {
  readonly operator: string
  readonly parameter: string
  readonly variable: string
  readonly evidence: ValueEvidence
} | null {
  const found = written.exec(match)
  if (found === null) return null
  const [, operator = '', parameter = ''] = found
  const variable = bytesOf(found[3] ?? '')
  const value = bytesOf(found[4] ?? '')
  const colon = variable.indexOf(':')
  return {
    operator,
    parameter,
    variable,
    evidence: {
      variable,
      collection: colon < 0 ? variable : variable.slice(0, colon),
      name: colon < 0 ? null : variable.slice(colon + 1),
      redacted: false,
      before: { text: value, offset: 0, length: value.length },
      steps: [],
      span: null,
      captures: [],
    },
  }
}

/** One character per byte, as everywhere else. */
function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** REQUEST_FILENAME is the path decoded once. */
function decoded(path: string): string {
  return path.replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}
