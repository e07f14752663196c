import { expect, test } from 'vitest'
import type { WafEvidence } from '../../waf/evidence/evidence.ts'
import { evidence, match } from '../../waf/evidence/evidence.fixture.ts'
import { entry } from './event.fixture.ts'
import { readEvent } from './event-json.ts'
import { EventRecorder } from './recorder.ts'

const limits = {
  keep: 'blocked',
  queueMax: 3,
  evidencePerSecondMax: 2,
  eventBytesMax: 65_536,
  redact: ['q'],
} as const

const passed = { ...entry, waf: { mode: 'block', verdict: 'pass', score: 2, rules: [920_350] } }

test('what was stopped or failed is kept, and all with a match if so asked', () => {
  const recorder = new EventRecorder(limits, () => 0)
  for (const one of [entry, passed, { ...entry, waf: null }]) recorder.record(one, null)
  recorder.record({ ...entry, waf: null, error: 'NO_ROUTE', requestId: 'e' }, null)
  expect(recorder.take().map(({ requestId, blocked }) => [requestId, blocked])).toEqual([
    ['r', true],
    ['e', false],
  ])
  const all = new EventRecorder({ ...limits, keep: 'matched' }, () => 0)
  all.record(passed, null)
  all.record({ ...passed, waf: { ...passed.waf, rules: [] } }, null)
  expect(all.take()).toHaveLength(1)
})

test('a full queue loses events and counts them; it never waits', () => {
  const recorder = new EventRecorder(limits, () => 0)
  for (let index = 0; index < 5; index += 1) recorder.record(entry, null)
  expect(recorder.take()).toHaveLength(3)
  expect(recorder.lost.queue).toBe(2)
  expect(recorder.take()).toEqual([])
})

test('evidence is made for so many events a second; others have an outline', () => {
  let now = 0
  const asked: boolean[] = []
  const explain = (isFull: boolean): WafEvidence => {
    asked.push(isFull)
    return { ...evidence(isFull ? [match()] : []), complete: isFull }
  }
  const recorder = new EventRecorder({ ...limits, queueMax: 10 }, () => now)
  for (let index = 0; index < 3; index += 1) recorder.record(entry, explain)
  now = 1_000
  recorder.record(entry, explain)
  expect(asked).toEqual([true, true, false, true])
  expect(recorder.lost.evidence).toBe(1)
})

test('an event has the names of OpenTelemetry, no secret, and reads back', () => {
  const recorder = new EventRecorder(limits, () => 0)
  recorder.record(entry, () => evidence())
  const [event] = recorder.take()
  const json = event?.json ?? ''
  expect(JSON.parse(json)).toMatchObject({
    log: 'event',
    'event.name': 'edge.waf.deny',
    'request.id': 'r',
    'http.request.method': 'GET',
    'url.path': '/search',
    'url.query': 'token=REDACTED&q=*',
    'http.route': 'shop',
    'edge.waf.evidence': {
      matches: [
        {
          'security_rule.uuid': '942100',
          'security_rule.name': 'SQL Injection',
          'security_rule.category': 'attack-sqli',
        },
        { 'security_rule.uuid': '949110' },
      ],
    },
  })
  expect(readEvent(json).evidence?.matches.map(({ ruleId }) => ruleId)).toEqual([942_100, 949_110])
})

test('an event is bounded; the rule that stopped the exchange stays', () => {
  const recorder = new EventRecorder({ ...limits, eventBytesMax: 4_000 }, () => 0)
  const { matches } = evidence()
  const many = Array.from({ length: 20 }, (_, index) => match({ ruleId: index + 1 }))
  recorder.record(entry, () => evidence([...many, ...matches]))
  const json = recorder.take()[0]?.json ?? ''
  expect(json.length).toBeLessThan(4_500)
  const read = readEvent(json).evidence
  expect(read?.matches.at(-1)?.ruleId).toBe(949_110)
  expect((read?.matches.length ?? 0) + (read?.matchesLeftOut ?? 0)).toBe(22)
})
