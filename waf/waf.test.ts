import { expect, test } from 'vitest'

import type { ExchangeFacts } from './facts.ts'
import type { EngineSettings } from './rule.ts'
import { facts, fixture } from './testing/fixture.ts'
import type { FakeScanner, RequestText, RuleText } from './testing/fixture.ts'
import { Waf } from './waf.ts'

interface Setup {
  readonly rules: readonly (RuleText | string)[]
  readonly request?: RequestText
  readonly settings?: Partial<EngineSettings>
}

interface Rig {
  readonly waf: Waf
  readonly scanner: FakeScanner
  readonly lines: string[]
  readonly audit: string[]
}

function rig({ rules, request = {}, settings = {} }: Setup): Rig {
  const { program, scanner } = fixture(rules, request, settings)
  const lines: string[] = []
  const audit: string[] = []
  const waf = new Waf({
    program,
    scanner,
    log: { write: (batch) => void lines.push(...batch) },
    audit: { write: (batch) => void audit.push(...batch) },
  })
  return { waf, scanner, lines, audit }
}

const withBody: ExchangeFacts = { ...facts, hasBody: true }
const phases: readonly RuleText[] = [1, 2, 3, 4, 5].map((phase) => ({
  id: phase,
  phase,
  links: [[phase < 3 ? 'ARGS' : 'RESPONSE_STATUS', '@rx .']],
}))
const html = { status: 200, headers: [['Content-Type', 'Text/HTML; charset=utf-8']] } as const

test('without a body both request phases run at once', () => {
  const { waf, scanner } = rig({ rules: phases })
  expect(waf.requestHead(waf.begin(facts, { mode: 'block' }))).toEqual({ action: 'pass' })
  expect(scanner.told).toEqual(['scan 1', 'scan 2'])
})

test('with a body phase 2 waits for it', () => {
  const { waf, scanner } = rig({ rules: phases })
  const transaction = waf.begin(withBody, { mode: 'block' })
  expect(waf.requestHead(transaction)).toEqual({ action: 'needs-body' })
  expect(waf.requestBody(transaction)).toEqual({ action: 'pass' })
  expect(scanner.told).toEqual(['scan 1', 'scan 2'])
})

test('a denial in phase 1 never reads the body and no later phase runs but 5', () => {
  const deny: RuleText = { id: 10, phase: 1, links: [['ARGS', '@rx x']], disruptive: 'deny' }
  const { waf, scanner, lines } = rig({ rules: [deny, ...phases], request: { 'ARGS:a': 'x' } })
  const transaction = waf.begin(withBody, { mode: 'block' })
  expect(waf.requestHead(transaction)).toEqual({
    action: 'deny',
    status: 403,
    ruleId: 10,
    phase: 1,
  })
  expect(waf.requestBody(transaction)).toEqual({ action: 'pass' })
  waf.logging(transaction, { status: 403 })
  expect(scanner.told).toEqual(['scan 1', 'scan 5'])
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('Access denied with code 403 (phase 1).')
})

test('without SecRequestBodyAccess, or by ctl, the body is not waited for', () => {
  const off = rig({ rules: phases, settings: { requestBodyAccess: false } })
  expect(off.waf.requestHead(off.waf.begin(withBody, { mode: 'block' })).action).toBe('pass')
  const ctl: RuleText = {
    id: 10,
    phase: 1,
    links: [['', '@unconditionalMatch', 'ctl:requestBodyAccess=Off']],
  }
  const byRule = rig({ rules: [ctl, ...phases] })
  expect(byRule.waf.requestHead(byRule.waf.begin(withBody, { mode: 'block' })).action).toBe('pass')
})

test('the body processor that a rule chose reaches the addon before phase 2', () => {
  const rule: RuleText = {
    id: 10,
    phase: 1,
    links: [
      [
        '',
        '@unconditionalMatch',
        'ctl:requestBodyProcessor=json',
        'ctl:forceRequestBodyVariable=On',
      ],
    ],
  }
  const { waf, scanner } = rig({ rules: [rule, ...phases] })
  const transaction = waf.begin({ ...facts, hasBody: true }, { mode: 'block' })
  waf.requestHead(transaction)
  waf.requestBody(transaction)
  expect(scanner.told).toEqual(['scan 1', 'processor JSON', 'force true', 'scan 2'])
})

test('over budget is a failure, not a pass', () => {
  const { waf, scanner } = rig({ rules: phases })
  scanner.overBudgetIn = 2
  expect(waf.requestHead(waf.begin(facts, { mode: 'block' }))).toEqual({
    action: 'failed',
    reason: 'over-budget',
  })
})

test('mode off runs nothing, in no phase', () => {
  const { waf, scanner, audit } = rig({ rules: phases, request: { 'ARGS:a': 'x' } })
  const transaction = waf.begin(facts, { mode: 'off' })
  expect(waf.requestHead(transaction).action).toBe('pass')
  expect(waf.responseNeed(transaction)).toBe('none')
  waf.logging(transaction, { status: 200 })
  expect([scanner.told, audit]).toEqual([[], []])
})

test('the response is asked for as far as rules and settings want it', () => {
  const head = rig({ rules: phases })
  expect(head.waf.responseNeed(head.waf.begin(facts, { mode: 'block' }))).toBe('head')
  const body = rig({ rules: phases, settings: { responseBodyAccess: true } })
  expect(body.waf.responseNeed(body.waf.begin(facts, { mode: 'block' }))).toBe('body')
  const none = rig({ rules: phases.slice(0, 2) })
  expect(none.waf.responseNeed(none.waf.begin(facts, { mode: 'block' }))).toBe('none')
})

test('response phases that read no response run with the request', () => {
  const outbound: RuleText = {
    id: 10,
    phase: 4,
    links: [['TX:score', '@ge 5']],
    disruptive: 'deny',
  }
  const score: RuleText = { id: 9, links: [['ARGS', '@rx x', 'setvar:tx.score=5']] }
  const { waf } = rig({ rules: [score, outbound], request: { 'ARGS:a': 'x' } })
  const transaction = waf.begin(facts, { mode: 'block' })
  expect(waf.requestHead(transaction)).toMatchObject({ action: 'deny', ruleId: 10, phase: 4 })
})

test('phase 4 waits for a body of a listed media type and no other', () => {
  const { waf, scanner } = rig({ rules: phases, settings: { responseBodyAccess: true } })
  const page = waf.begin(facts, { mode: 'block' })
  expect(waf.responseHead(page, html)).toEqual({ action: 'needs-body' })
  expect(waf.responseBody(page)).toEqual({ action: 'pass' })
  const image = waf.begin(facts, { mode: 'block' })
  const png = { status: 200, headers: [['content-type', 'image/png']] } as const
  expect(waf.responseHead(image, png)).toEqual({ action: 'pass' })
  expect(scanner.told).toEqual(['scan 3', 'response body', 'scan 4', 'scan 3', 'scan 4'])
})

const allow = (scope: string): RuleText => ({
  id: 10,
  phase: 1,
  links: [['', '@unconditionalMatch']],
  disruptive: 'allow',
  disruptiveArgument: scope,
})

test('allow lets later phases pass, allow:request only phase 2', () => {
  const all = rig({ rules: [allow(''), ...phases] })
  const whole = all.waf.begin(withBody, { mode: 'block' })
  expect(all.waf.requestHead(whole).action).toBe('pass')
  expect(all.waf.responseNeed(whole)).toBe('none')
  const request = rig({ rules: [allow('request'), ...phases] })
  const half = request.waf.begin(facts, { mode: 'block' })
  expect(request.waf.requestHead(half).action).toBe('pass')
  request.waf.responseHead(half, html)
  expect(request.scanner.told).toEqual(['scan 1', 'scan 3', 'scan 4'])
})

test('redirect carries its address with macros expanded', () => {
  const rule: RuleText = {
    id: 10,
    phase: 1,
    links: [['ARGS', '@rx x']],
    disruptive: 'redirect',
    disruptiveArgument: 'https://example.org/?id=%{UNIQUE_ID}',
  }
  const { waf } = rig({ rules: [rule], request: { 'ARGS:a': 'x' } })
  expect(waf.requestHead(waf.begin(facts, { mode: 'block' }))).toEqual({
    action: 'redirect',
    status: 302,
    location: 'https://example.org/?id=abc-123',
    ruleId: 10,
    phase: 1,
  })
})

test('a rule with nolog writes no line, one with noauditlog no record', () => {
  const quiet: RuleText = { id: 1, links: [['ARGS', '@rx x']], log: false }
  const { waf, lines, audit } = rig({ rules: [quiet], request: { 'ARGS:a': 'x' } })
  const transaction = waf.begin(facts, { mode: 'block' })
  waf.requestHead(transaction)
  waf.logging(transaction, { status: 200 })
  expect([lines.length, audit.length]).toEqual([0, 1])
  const unaudited: RuleText = { id: 1, links: [['ARGS', '@rx x']], auditLog: false }
  const other = rig({ rules: [unaudited], request: { 'ARGS:a': 'x' } })
  const second = other.waf.begin(facts, { mode: 'block' })
  other.waf.requestHead(second)
  other.waf.logging(second, { status: 200 })
  expect([other.lines.length, other.audit.length]).toEqual([1, 0])
})
