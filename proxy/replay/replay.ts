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
    for (const match of causes(matched)) {
      const parameter = shown(match.value?.variable ?? '')
      const key = JSON.stringify([match.rule.id, path, parameter])
      if (counted.has(key)) continue
      counted.add(key)
      const known = this.#byKey.get(key)
      if (known !== undefined) known.requests += 1
      else if (this.#byKey.size >= replayLimits.findingsMax) this.overMax = true
      else {
        const asked = shown(`${request.method} ${request.target}`)
        const example = { line, request: asked, value: shown(match.value?.value ?? '') }
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

/** The rules that saw something; that which adds the scores up says nothing of a parameter. */
function causes(matched: readonly MatchedRule[]): readonly MatchedRule[] {
  const seeing = matched.filter(({ value }) => value !== null && !/^&?TX\b/.test(value.variable))
  return seeing.length > 0 ? seeing : matched.slice(-1)
}

function shown(text: string): string {
  return printable(text, exampleCharactersMax)
}
