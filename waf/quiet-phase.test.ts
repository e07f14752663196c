import { expect, test } from 'vitest'
import { noExclusions } from './exclusions.ts'
import { runPhase } from './evaluate.ts'
import { prepare, prepareUnfolded } from './prepared.ts'
import type { PreparedProgram } from './prepared.ts'
import { fixture, facts } from './testing/fixture.ts'
import type { RequestText, RuleText } from './testing/fixture.ts'
import { Transaction } from './transaction.ts'

const silent = { log: false, auditLog: false } as const
const add = 'setvar:tx.total=+%{tx.score}'

/** Scoring as the CRS does it: counters from the start, added up and judged by control rules. */
const scoring: readonly (RuleText | string)[] = [
  { id: 1, phase: 1, ...silent, links: [['', '@unconditionalMatch', 'setvar:tx.score=0']] },
  { id: 2, phase: 1, ...silent, links: [['', '@unconditionalMatch', 'setvar:tx.limit=5']] },
  { id: 10, links: [['ARGS:a', '@rx x', 'setvar:tx.score=+5']] },
  { id: 11, ...silent, links: [['ARGS:drop', '@rx .', 'ctl:ruleRemoveById=20']] },
  { id: 12, ...silent, links: [['ARGS:list', '@rx .', 'setvar:tx.list_%{MATCHED_VAR}=1']] },
  { id: 20, ...silent, links: [['', '@unconditionalMatch', 'setvar:tx.total=0']] },
  { id: 21, ...silent, links: [['TX:score', '@ge 0', add]] },
  { id: 22, links: [['TX:/^list_/', '@streq 1']] },
  { id: 23, links: [['TX:total', '@ge %{tx.limit}']], disruptive: 'deny' },
  { id: 30, phase: 5, links: [['TX:total', '@ge 5']] },
]

const extra = (rule: RuleText): (RuleText | string)[] => [
  ...scoring.slice(0, 5),
  rule,
  ...scoring.slice(5),
]
const always = ['', '@unconditionalMatch'] as const

/** Each with the phases 2 and 5 that are settled when nothing fires. */
const programs: readonly (readonly [string, readonly (RuleText | string)[], boolean])[] = [
  ['scoring', scoring, true],
  ['a control rule that tells', extra({ id: 40, links: [always] }), false],
  ['one that tells only of a score', extra({ id: 40, links: [['TX:score', '@ge 1']] }), true],
  [
    'one that reads a variable',
    extra({ id: 40, ...silent, links: [['UNIQUE_ID', '@streq x', 'setvar:tx.u=1']] }),
    false,
  ],
  [
    'one that sets what it reads of the request',
    extra({ id: 40, ...silent, links: [['', '@unconditionalMatch', 'setvar:tx.u=%{UNIQUE_ID}']] }),
    false,
  ],
  [
    'one that reads captures',
    extra({ id: 40, ...silent, links: [['TX:0', '@streq x', 'setvar:tx.u=1']] }),
    false,
  ],
  ['one that reads MATCHED_VAR', extra({ id: 40, links: [['MATCHED_VAR', '@streq x']] }), false],
  [
    'one that switches the engine off',
    extra({ id: 40, ...silent, links: [['', '@unconditionalMatch', 'ctl:ruleEngine=Off']] }),
    false,
  ],
  [
    'a target of TX that some request hides',
    extra({ id: 40, ...silent, links: [['ARGS:hide', '@rx .', 'ctl:ruleRemoveTargetById=23;TX']] }),
    false,
  ],
  ['a denial of all', extra({ id: 40, ...silent, links: [always], disruptive: 'deny' }), false],
]

const requests: readonly RequestText[] = [
  {},
  { 'ARGS:a': 'x' },
  { 'ARGS:drop': '1' },
  { 'ARGS:drop': '1', 'ARGS:a': 'x' },
  { 'ARGS:list': 'y' },
  { 'ARGS:a': 'x', 'ARGS:hide': '1' },
  { 'ARGS:hide': '1' },
]

function outcome(
  program: PreparedProgram,
  rules: readonly (RuleText | string)[],
  request: RequestText,
) {
  const { scanner } = fixture(rules, request)
  const transaction = new Transaction(program, scanner, { facts, mode: 'block' })
  // What an earlier transaction left behind would show in the second round.
  return {
    results: [1, 2, 3, 4, 5].map((phase) => runPhase(transaction, phase)),
    matched: transaction.matched.map((match) => match.rule.id),
    tx: new Map(transaction.tx),
    matchedVar: transaction.matchedVar?.name,
    matchedVars: transaction.matchedVars.map(({ name, value }) => [name, value]),
    severity: transaction.highestSeverity,
    engine: transaction.engine,
  }
}

for (const [name, rules, settled] of programs)
  test(`${name}: phase 2 is ${settled ? 'settled by TX' : 'run'}, to the same end`, () => {
    const { program } = fixture(rules, {})
    const [whole, quick] = [prepareUnfolded(program), prepare(program)]
    expect(quick.quiet?.of(2, [], noExclusions) !== null).toBe(settled)
    for (const request of [...requests, ...requests]) {
      expect(outcome(quick, rules, request)).toEqual(outcome(whole, rules, request))
    }
  })

test('a rule that fired and does the same for every value leaves the phase settled', () => {
  const prepared = prepare(fixture(scoring, {}).program)
  const at = (id: number): number =>
    prepared.phases[2]?.rules.findIndex(({ rule }) => rule.id === id) ?? -1
  const settled = (id: number): boolean => prepared.quiet?.of(2, [at(id)], noExclusions) !== null
  // 11 removes a rule for whoever comes so far; 12 writes down the value, 10 tells of it.
  expect([10, 11, 12].map(settled)).toEqual([false, true, false])
  expect(prepared.quiet?.of(2, [at(11)], noExclusions)?.runs).toHaveLength(1)
})

test("a route's exclusions have quiet phases of their own", () => {
  const prepared = prepare(fixture(scoring, {}).program)
  const rules = prepared.phases.flatMap((phase) => phase.rules.map(({ rule }) => rule))
  const standing = { rules: new Set(rules.filter(({ id }) => id === 20)), targets: new Map() }
  expect(prepared.quiet?.of(2, [], noExclusions)?.sets.get('total')).toBe('0')
  expect(prepared.quiet?.of(2, [], standing)?.sets.get('total')).toBe('0')
  const blind = { rules: new Set(rules.filter(({ id }) => id === 21)), targets: new Map() }
  expect([...(prepared.quiet?.of(2, [], blind)?.sets ?? [])]).toEqual([['total', '0']])
  const hides = {
    rules: new Set<never>(),
    targets: new Map(rules.map((rule) => [rule, () => true])),
  }
  expect(prepared.quiet?.of(2, [], hides)).toBeNull()
})
