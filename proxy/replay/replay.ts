/** What a ruleset would block of a log: by rule, path and parameter, worst first. */
import type { Inspected, OfflineEngine, OfflineRequest } from '../../waf/offline/engine.ts'
import type { MatchedRule } from '../../waf/matched-rule.ts'
import { printable } from '../../waf/printable.ts'
import type { ReplayFault, ReplayLine } from './entry.ts'

/** Blocked requests that one rule had a part in, at one parameter of one path. */
export interface Finding {
  readonly rule: number
  readonly message: string
  readonly path: string
  /** As ModSecurity writes it: `ARGS:q`; '' for a rule that looks at no variable. */
  readonly parameter: string
  requests: number
  readonly example: { readonly line: number; readonly request: string; readonly value: string }
}

/** What became of a log. */
export interface ReplayReport {
  readonly requests: number
  readonly wouldBlock: number
  /** Not inspected within the time budget: a server would follow `waf.onFailure`. */
  readonly notInspected: number
  readonly unread: number
  /** The first of them. */
  readonly faults: readonly ReplayFault[]
  readonly findings: readonly Finding[]
  /** True when there were more kinds of findings than are kept. */
  readonly findingsOverMax: boolean
}

/** Kinds of findings that are kept, and faults that are told one by one. */
export const replayLimits = { findingsMax: 10_000, faultsMax: 20 } as const

/** Bytes of a request or a value that a report shows. */
const exampleCharactersMax = 160

/** Puts every request to the engine. */
export async function replayLog(
  entries: AsyncIterable<ReplayLine>,
  engine: OfflineEngine,
): Promise<ReplayReport> {
  const faults: ReplayFault[] = []
  const findings = new Findings()
  let [requests, wouldBlock, notInspected, unread] = [0, 0, 0, 0]
  for await (const entry of entries) {
    if (entry === null) continue
    if ('reason' in entry) {
      unread += 1
      if (faults.length < replayLimits.faultsMax) faults.push(entry)
      continue
    }
    requests += 1
    const inspected = engine.inspect(entry.request)
    const { action } = inspected.verdict
    if (action === 'failed') notInspected += 1
    if (action !== 'deny' && action !== 'redirect') continue
    wouldBlock += 1
    findings.add(entry.line, entry.request, inspected)
  }
  const { list, overMax } = findings
  const counts = { requests, wouldBlock, notInspected, unread }
  return { ...counts, faults, findings: list, findingsOverMax: overMax }
}

class Findings {
  readonly #byKey = new Map<string, Finding>()
  overMax = false

  add(line: number, request: OfflineRequest, { matched }: Inspected): void {
    const path = shown(request.target.split('?', 1)[0] ?? '')
    const counted = new Set<string>()
    for (const [match, sighting] of causes(matched)) {
      const parameter = shown(sighting.parameter)
      const key = JSON.stringify([match.rule.id, path, parameter])
      if (counted.has(key)) continue
      counted.add(key)
      const known = this.#byKey.get(key)
      if (known !== undefined) known.requests += 1
      else if (this.#byKey.size >= replayLimits.findingsMax) this.overMax = true
      else {
        const asked = shown(`${request.method} ${request.target}`)
        const example = { line, request: asked, value: shown(sighting.value) }
        const { id: rule } = match.rule
        const message = shown(match.message)
        this.#byKey.set(key, { rule, message, path, parameter, requests: 1, example })
      }
    }
  }

  /** Worst first; then in the order of rules, so that two runs say the same. */
  get list(): Finding[] {
    return [...this.#byKey.values()].toSorted(
      (one, other) =>
        other.requests - one.requests ||
        one.rule - other.rule ||
        (one.path < other.path ? -1 : one.path > other.path ? 1 : 0),
    )
  }
}

/** Where a rule saw something. */
interface Sighting {
  readonly parameter: string
  readonly value: string
}

/** What rules saw in the request; that which adds the scores up says nothing of a parameter. */
function causes(matched: readonly MatchedRule[]): (readonly [MatchedRule, Sighting])[] {
  const seen = matched.flatMap((match) =>
    sightings(match).map((sighting) => [match, sighting] as const),
  )
  const last = matched.at(-1)
  if (seen.length > 0 || last === undefined) return seen
  return [[last, { parameter: '', value: last.value?.value ?? '' }]]
}

/** Of a chain, what its last link that looks at the request accepted. */
function sightings({ notes }: MatchedRule): Sighting[] {
  const links = (notes?.links ?? []).map(({ values }) =>
    values.filter(({ variable }) => !reasoned.test(variable)),
  )
  const values = links.findLast((link) => link.length > 0) ?? []
  return values.map(({ variable, name, value }) => ({
    parameter: name === null ? variable : `${variable}:${name}`,
    value,
  }))
}

/** Variables that rules make, not requests. */
const reasoned = /^&?(?:TX|MATCHED_VARS?(?:_NAMES?)?|RULE|ENV|DURATION|UNIQUE_ID)$/i

function shown(text: string): string {
  return printable(text, exampleCharactersMax)
}
