/**
 * The JSON of an event: the access log's fields (OpenTelemetry's names, flat), then the WAF's
 * evidence. Each match goes by OpenTelemetry's `security_rule.*`; what has no such name is ours.
 */
import type { MatchEvidence, WafEvidence } from '../../waf/evidence/evidence.ts'
import { type AccessEntry, accessLine } from '../access-log.ts'

/** The key of the evidence in an event. */
export const evidenceKey = 'edge.waf.evidence'

/** A match as it is written. */
type WrittenMatch = Omit<MatchEvidence, 'ruleId' | 'message' | 'version'> & {
  readonly 'security_rule.uuid': string
  readonly 'security_rule.name': string
  readonly 'security_rule.version': string
  readonly 'security_rule.category': string
}

/** Evidence as it is written. */
type WrittenEvidence = Omit<WafEvidence, 'matches'> & { readonly matches: readonly WrittenMatch[] }

/** One event, at most about `bytesMax` long: matches are left out to keep it so. */
export function eventJson(
  entry: AccessEntry,
  evidence: WafEvidence | null,
  bytesMax: number,
): string {
  const fields = accessLine(entry).trimEnd().slice(0, -1).replace('"log":"access"', '"log":"event"')
  const line = `${fields},"event.name":"${eventName(entry)}"`
  if (evidence === null) return `${line}}`
  return `${line},"${evidenceKey}":${evidenceJson(evidence, bytesMax - line.length)}}`
}

function eventName({ waf, error }: AccessEntry): string {
  if (waf !== null && waf.verdict !== 'pass') return `edge.waf.${waf.verdict}`
  return error === null ? 'edge.waf.match' : 'edge.error'
}

function evidenceJson({ matches, ...rest }: WafEvidence, bytesMax: number): string {
  const written = matches.map((match) => ({ match, text: JSON.stringify(writtenOf(match)) }))
  // Those that stopped the exchange first: without them nothing is explained.
  const byWeight = written.toSorted((one, other) => weight(other.match) - weight(one.match))
  const kept = new Set<MatchEvidence>()
  let bytes = 0
  for (const { match, text } of byWeight) {
    bytes += text.length
    if (bytes > bytesMax) break
    kept.add(match)
  }
  const texts = written.filter(({ match }) => kept.has(match)).map(({ text }) => text)
  const matchesLeftOut = rest.matchesLeftOut + matches.length - texts.length
  const outline = JSON.stringify({ ...rest, matchesLeftOut }).slice(0, -1)
  return `${outline},"matches":[${texts.join(',')}]}`
}

function weight({ interruption, disruptive, changes }: MatchEvidence): number {
  if (interruption !== null) return 3
  if (disruptive !== 'pass' && disruptive !== 'allow') return 2
  return changes.length > 0 ? 1 : 0
}

function writtenOf({ ruleId, message, version, ...rest }: MatchEvidence): WrittenMatch {
  return {
    'security_rule.uuid': String(ruleId),
    'security_rule.name': message,
    'security_rule.version': version,
    'security_rule.category': rest.tags.find((tag) => tag.startsWith('attack-')) ?? '',
    ...rest,
  }
}

/** What `explain` reads of an event. */
export interface ReadEvent {
  readonly fields: Readonly<Record<string, unknown>>
  /** Null when the WAF had nothing to say. */
  readonly evidence: WafEvidence | null
}

/** Reads an event back; throws when the text is none. */
export function readEvent(json: string): ReadEvent {
  const fields: Record<string, unknown> = JSON.parse(json)
  const written = fields[evidenceKey]
  return { fields, evidence: isEvidence(written) ? evidenceOf(written) : null }
}

// Written by the same program; a newer one may have added fields.
function isEvidence(value: unknown): value is WrittenEvidence {
  return typeof value === 'object' && value !== null && 'matches' in value
}

function evidenceOf({ matches, ...rest }: WrittenEvidence): WafEvidence {
  return {
    ...rest,
    matches: matches.map((match) => ({
      ...match,
      ruleId: Number(match['security_rule.uuid']),
      message: match['security_rule.name'],
      version: match['security_rule.version'],
    })),
  }
}
