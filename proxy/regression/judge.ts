/** Whether a stage went as expected: by the log, or by the status alone where no log is read. */
import type { CaseExpectation } from './cases.ts'

/** What came of sending one request. */
export interface Observation {
  /** 0: no answer at all. */
  readonly status: number
  /** What the WAF logged meanwhile; null where nobody reads its log. */
  readonly log: string | null
}

/** A stage that did not go as expected. */
export interface Difference {
  readonly expected: string
  readonly seen: string
}

/** Statuses by which go-ftw's cloud mode knows that a request was let through. */
const passedStatuses: readonly number[] = [200, 404, 405]

/** Ids of the rules that a log names: ModSecurity's `[id "…"]`, or `id` and `ruleId` of JSON. */
export function loggedIds(log: string): Set<number> {
  const found = log.matchAll(/\[id "(\d+)"\]|"(?:id|ruleId)"\s*:\s*"?(\d+)/g)
  return new Set([...found].map((match) => Number(match[1] ?? match[2])))
}

/** Null when all is as expected. */
export function judge(expect: CaseExpectation, seen: Observation): Difference | null {
  const { status, log } = seen
  if (expect.expectError) {
    // A server that answers with 400 and one that says nothing refuse alike.
    const refused = status === 0 || status === 400
    return refused ? null : { expected: 'an error', seen: `status ${status}` }
  }
  if (expect.status !== null && expect.status !== status) {
    return { expected: `status ${expect.status}`, seen: `status ${status}` }
  }
  return log === null ? judgeStatus(expect, status) : judgeLog(expect, status, log)
}

function judgeStatus(expect: CaseExpectation, status: number): Difference | null {
  if (expect.status !== null) return null
  const blocked = expect.expectIds.length > 0 || expect.matchRegex !== null
  const passed = expect.noExpectIds.length > 0 || expect.noMatchRegex !== null
  if (blocked && status !== 403) return { expected: 'status 403', seen: `status ${status}` }
  if (blocked || !passed || passedStatuses.includes(status)) return null
  return { expected: `status ${passedStatuses.join(', ')}`, seen: `status ${status}` }
}

function judgeLog(expect: CaseExpectation, status: number, log: string): Difference | null {
  const ids = loggedIds(log)
  const matched = ids.size === 0 ? 'no rule' : [...ids].toSorted((a, b) => a - b).join(', ')
  const seen = `${matched} (status ${status})`
  for (const id of expect.expectIds) if (!ids.has(id)) return { expected: `rule ${id}`, seen }
  for (const id of expect.noExpectIds) {
    if (ids.has(id)) return { expected: `not rule ${id}`, seen }
  }
  if (expect.matchRegex?.test(log) === false) {
    return { expected: `a log that matches ${expect.matchRegex.source}`, seen }
  }
  if (expect.noMatchRegex?.test(log) === true) {
    return { expected: `a log without ${expect.noMatchRegex.source}`, seen }
  }
  return null
}
