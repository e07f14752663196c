import { expect, test } from 'vitest'
import type { TraceAsk, Witness } from '../scanner.ts'
import { facts, fixture } from '../testing/fixture.ts'
import type { RequestText, RuleText } from '../testing/fixture.ts'
import type { Transaction } from '../transaction.ts'
import { Waf } from '../waf.ts'
import { defaultEvidenceLimits, type EvidenceLimits, type WafEvidence } from './evidence.ts'

const asked: TraceAsk[] = []
const witness: Witness = {
  trace: (_handle, ask) => {
    asked.push(ask)
    const excerpt = { text: ask.value.toUpperCase(), offset: 0, length: ask.value.length }
    const span = { spanStart: 1, spanLength: 2 }
    return { before: excerpt, steps: [], captures: [], workBytes: 300 * 1024, ...span }
  },
  traceText: () => null,
  body: () => ({ text: '', offset: 0, length: 0 }),
}

interface Setup {
  readonly rules: readonly RuleText[]
  readonly request: RequestText
  readonly limits?: Partial<EvidenceLimits>
}

function run({ rules, request, limits = {} }: Setup): { waf: Waf; transaction: Transaction } {
  const { program, scanner } = fixture(rules, request)
  const evidenceLimits = { ...defaultEvidenceLimits, ...limits }
  const waf = new Waf({ program, scanner, log: null, audit: null, witness, evidenceLimits })
  const transaction = waf.begin(facts, { mode: 'block' })
  waf.requestHead(transaction)
  asked.length = 0
  return { waf, transaction }
}

function gathered(setup: Setup): WafEvidence {
  const { waf, transaction } = run(setup)
  return waf.evidence(transaction, true)
}

const scoring = (id: number, more: Partial<RuleText> = {}): RuleText => ({
  id,
  links: [['ARGS', '@rx x', 'capture', 'setvar:tx.inbound_anomaly_score_pl1=+5']],
  tags: ['attack-sqli', 'paranoia-level/1'],
  ...more,
})

test('a rule is told with its place, its values, what it set and the score so far', () => {
  const { matches } = gathered({ rules: [scoring(1), scoring(2)], request: { 'ARGS:a': 'ax' } })
  expect(matches).toMatchObject([
    {
      ruleId: 1,
      file: 'test.conf',
      phase: 2,
      paranoiaLevel: 1,
      links: [
        {
          targets: ['ARGS'],
          operator: 'Rx',
          values: [
            {
              variable: 'ARGS:a',
              before: { text: 'AX', length: 2 },
              span: { start: 1, length: 2 },
            },
          ],
        },
      ],
      changes: [{ name: 'tx.inbound_anomaly_score_pl1', before: '', after: '5' }],
      score: { before: { inbound: [0, 0, 0, 0] }, after: { inbound: [5, 0, 0, 0] } },
    },
    { score: { before: { inbound: [5, 0, 0, 0] }, after: { inbound: [10, 0, 0, 0] } } },
  ])
})

test('each link of a chain is told, and a chain that failed leaves nothing', () => {
  const chain = (id: number, second: string): RuleText => ({
    id,
    links: [
      ['ARGS', '@rx x', 'setvar:tx.seen=1'],
      ['REQUEST_METHOD', `@rx ${second}`],
    ],
  })
  const request = { 'ARGS:a': 'x', REQUEST_METHOD: 'GET' }
  const { matches } = gathered({ rules: [chain(1, 'POST'), chain(2, 'GET')], request })
  expect(matches).toMatchObject([
    {
      ruleId: 2,
      links: [{ values: [{ variable: 'ARGS:a' }] }, { values: [{ variable: 'REQUEST_METHOD' }] }],
      changes: [],
    },
  ])
})

test('a SecAction that logs is told without a value', () => {
  const action: RuleText = { id: 1, links: [['', '@unconditionalMatch', 'setvar:tx.a=7']] }
  expect(gathered({ rules: [action], request: {} }).matches).toMatchObject([
    { links: [{ values: [] }], changes: [{ name: 'tx.a', before: '', after: '7' }] },
  ])
})

test('rules that nobody logs are not noted at all', () => {
  const quiet = scoring(1, { log: false, auditLog: false })
  expect(gathered({ rules: [quiet], request: { 'ARGS:a': 'x' } }).matches).toEqual([])
})

test('secrets are stars in values, data and variables of TX', () => {
  const rule: RuleText = {
    id: 1,
    links: [['ARGS', '@rx hunter', 'setvar:tx.found=%{MATCHED_VAR}']],
    logdata: '%{MATCHED_VAR}',
  }
  const evidence = gathered({ rules: [rule], request: { 'ARGS:password': 'hunter2' } })
  expect(JSON.stringify(evidence).toLowerCase()).not.toContain('hunter2')
  expect(evidence.matches).toMatchObject([
    { data: '[redacted]', links: [{ values: [{ redacted: true, before: { text: '*******' } }] }] },
  ])
})

test('matches and values are bounded, and what is left out is counted', () => {
  const rules = [scoring(1), scoring(2), scoring(3, { disruptive: 'deny' })]
  const request = Object.fromEntries(
    Array.from({ length: 30 }, (_, index) => [`ARGS:a${index}`, 'x']),
  )
  const evidence = gathered({ rules, request, limits: { matchesMax: 2, valuesMax: 3 } })
  // The one that stopped it is always there.
  expect(evidence.matches.map(({ ruleId }) => ruleId)).toEqual([1, 3])
  expect(evidence.matchesLeftOut).toBe(1)
  expect(evidence.matches[0]?.links[0]).toMatchObject({ valuesLeftOut: 27 })
  expect(evidence.matches[0]?.links[0]?.values).toHaveLength(3)
})

test('of equal values each is asked for in turn, until the work is too much', () => {
  const rule = scoring(1)
  const request = { 'ARGS:a': 'x', 'ARGS:b': 'x', 'ARGS:c': 'x', 'ARGS:d': 'x', 'ARGS:e': 'x' }
  const [match] = gathered({ rules: [rule], request }).matches
  // 300 KiB each: after the fourth no more than 1 MiB was transformed, and then it was.
  expect(asked).toHaveLength(4)
  expect(match?.links[0]?.values).toHaveLength(5)
  expect(match?.links[0]?.values[4]).toMatchObject({ before: { text: 'x' }, span: null })
})

test('in outline there are levels and thresholds only', () => {
  const { waf, transaction } = run({ rules: [scoring(1)], request: { 'ARGS:a': 'x' } })
  transaction.tx.set('blocking_paranoia_level', '2')
  transaction.tx.set('inbound_anomaly_score_threshold', '5')
  expect(waf.evidence(transaction, false)).toMatchObject({
    complete: false,
    paranoia: { blocking: 2 },
    threshold: { inbound: 5 },
    matches: [],
    matchesLeftOut: 1,
  })
})
