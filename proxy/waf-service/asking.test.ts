/** The order of one exchange where a service inspects, with the service replaced by its answers. */
import { expect, test } from 'vitest'
import type { Verdict } from '../../waf/verdict.ts'
import { accessEntry } from '../access-entry.ts'
import { edge, inspection, route } from '../edge.fixture.ts'
import { Exchange } from '../exchange.ts'
import type { Plan } from '../plan.ts'
import { request } from '../request.fixture.ts'
import { flagBits } from '../request.ts'
import { Router } from '../router.ts'
import {
  type Edge,
  serve,
  serveBody,
  serveResponse,
  serveResponseBody,
  serveVerdict,
} from '../serve.ts'
import { quiet } from './answer.fixture.ts'
import type { Heard } from './asking.ts'
import { type Answer, asciiJson, readQuestion } from './protocol.ts'

const lines: string[] = []
const sink = { write: (more: readonly string[]) => void lines.push(...more) }
const inspected = { ...route, inspection: { ...inspection, mode: 'block', tuning: 1 } } as const

function edgeWith(changes: Partial<Edge> = {}): Edge {
  return edge({
    router: new Router([inspected]),
    service: { variants: ['first', 'second'], log: sink, audit: null },
    ...changes,
  })
}

function exchange(flags = 0): Exchange {
  const head = request({ flags, headers: [['content-type', 'text/plain']] })
  const start = { id: 1, requestId: 'r-é', clientAddress: '192.0.2.1', timeMs: 5 }
  return new Exchange({ ...start, request: head })
}

const says = (verdict: Verdict, more: Partial<Answer> = {}): Heard => ({
  text: asciiJson({ ...quiet, ...more, verdict }),
  error: null,
})
const pass: Verdict = { action: 'pass' }
const deny: Verdict = { action: 'deny', status: 406, ruleId: 7, phase: 2 }

function summary(plan: Plan): string {
  if (plan.kind === 'respond') return `respond ${plan.status}`
  return plan.kind === 'ask' ? `ask ${plan.moment} ${plan.extent}` : plan.kind
}

test('the question names the variant and what the head does not say, in ASCII', () => {
  const plan = serve(exchange(), edgeWith())
  if (plan.kind !== 'ask') throw new Error(plan.kind)
  expect(plan.question).toMatch(/^[ -~]+$/)
  expect(readQuestion(plan.question)).toEqual({
    variant: 'second',
    mode: 'block',
    requestId: 'r-é',
    timeMs: 5,
    clientAddress: '192.0.2.1',
    route: 'r',
    hasBody: false,
  })
})

test('a clean request is asked about once, then forwarded', () => {
  const one = exchange()
  expect(summary(serve(one, edgeWith()))).toBe('ask head unread')
  const plan = serveVerdict(one, says(pass), edgeWith())
  expect(plan).toMatchObject({ kind: 'forward', inspectResponse: 'none' })
})

test('a body is read when phase 1 has passed, up to the limit of the rules', () => {
  const one = exchange(flagBits.hasBody)
  const all = edgeWith({
    router: new Router([
      { ...inspected, inspection: { ...inspected.inspection, inspectOtherBodies: true } },
    ]),
  })
  expect(summary(serve(one, all))).toBe('ask head unread')
  const plan = serveVerdict(one, says({ action: 'needs-body' }, { bodyBytesMax: 9 }), all)
  expect(plan).toEqual({ kind: 'read-body', maxBytes: 9 })
  expect(summary(serveBody(one, 'complete', all))).toBe('ask body unread')
  expect(summary(serveVerdict(one, says(deny), all))).toBe('respond 406')
})

test('a denial and its matches are the access log’s, the lines the WAF log’s', () => {
  const one = exchange()
  serve(one, edgeWith())
  const told = { score: 5, rules: [7, 9], evidence: null }
  serveVerdict(one, says(deny, { told, log: ['a line'] }), edgeWith())
  expect(lines).toEqual(['a line'])
  const outcome = {
    status: 406,
    error: null,
    endpoint: null,
    attempts: 0,
    failedFirst: null,
    requestBodyBytes: 0,
    responseBodyBytes: 0,
    durationUs: 1,
    upstreamFirstByteUs: null,
    clientAborted: false,
    headSent: true,
  }
  expect(accessEntry(one, outcome, edgeWith()).waf).toEqual({
    mode: 'block',
    verdict: 'deny',
    score: 5,
    rules: [7, 9],
  })
})

test('the response is shown, as far as the service wants it', () => {
  const hold = { bytesMax: 9, rejectsLonger: true, mediaTypes: 'text/html' }
  const one = exchange()
  serve(one, edgeWith())
  const plan = serveVerdict(one, says(pass, { responseNeed: 'body', hold }), edgeWith())
  expect(plan).toMatchObject({ kind: 'forward', inspectResponse: hold })
  const response = { status: 200, headers: [], body: 'unread' } as const
  expect(summary(serveResponse(one, response, edgeWith()))).toBe('ask response unread')
  const again = says({ action: 'needs-body' }, { responseNeed: 'body', hold })
  expect(serveVerdict(one, again, edgeWith())).toEqual({ kind: 'read-response-body', maxBytes: 9 })
  expect(summary(serveResponseBody(one, 'whole', edgeWith()))).toBe('ask response-body whole')
  expect(summary(serveVerdict(one, says(pass), edgeWith()))).toBe('pass-response')
})

test('a response that is longer than the rules let through is refused here', () => {
  const hold = { bytesMax: 9, rejectsLonger: true, mediaTypes: 'text/html' }
  const one = exchange()
  serve(one, edgeWith())
  serveVerdict(one, says(pass, { responseNeed: 'body', hold }), edgeWith())
  serveResponse(one, { status: 200, headers: [], body: 'beginning' }, edgeWith())
  const wants = says({ action: 'needs-body' }, { responseNeed: 'body', hold })
  expect(summary(serveVerdict(one, wants, edgeWith()))).toBe('respond 403')
})

const failures = [
  ['head', 'deny', 'respond 503'],
  ['head', 'pass', 'forward'],
  ['response', 'deny', 'respond 503'],
  ['response', 'pass', 'pass-response'],
] as const
for (const [moment, onFailure, expected] of failures)
  test(`no answer about the ${moment}, onFailure ${onFailure}: ${expected}`, () => {
    const one = exchange()
    const failing = edgeWith({ onFailure })
    serve(one, failing)
    if (moment === 'response') {
      serveVerdict(one, says(pass, { responseNeed: 'head' }), failing)
      serveResponse(one, { status: 200, headers: [], body: 'unread' }, failing)
    }
    const heard: Heard = { text: null, error: 'WAF_SERVICE_TIMEOUT' }
    const plan = serveVerdict(one, heard, failing)
    expect(summary(plan)).toBe(expected)
    expect(one.wafResult).toBe('failed')
    expect(one.error).toBe(onFailure === 'deny' ? 'WAF_SERVICE_TIMEOUT' : null)
    // A service that was lost is not asked about the response.
    if (plan.kind === 'forward') expect(plan.inspectResponse).toBe('none')
  })

test('last words tell, and decide nothing', () => {
  const one = exchange()
  serve(one, edgeWith())
  serveVerdict(one, says(pass, { told: { score: 1, rules: [3], evidence: null } }), edgeWith())
  expect(one.asked?.hear(says(deny))).toBeNull()
  expect(one.asked?.told?.rules).toEqual([3])
  expect(one.asked?.hear({ text: null, error: 'WAF_SERVICE_TIMEOUT' })).toBeNull()
})
