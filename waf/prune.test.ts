import { expect, test } from 'vitest'

import { runPhase } from './evaluate.ts'
import { prepare, prepareUnfolded } from './prepared.ts'
import type { PreparedProgram } from './prepared.ts'
import { facts, fixture } from './testing/fixture.ts'
import type { RequestText, RuleText } from './testing/fixture.ts'
import { Transaction } from './transaction.ts'

const quiet = { log: false, auditLog: false } as const
const always = ['', '@unconditionalMatch'] as const

/** A small CRS: initialisation, paranoia levels, groups with markers, blocking. */
const crs: readonly (RuleText | string)[] = [
  {
    id: 1,
    phase: 1,
    links: [['REQUEST_HEADERS:type', '@rx json', 'ctl:requestBodyProcessor=JSON']],
    ...quiet,
  },
  { id: 2, phase: 1, links: [['&TX:setup', '@eq 1']], disruptive: 'deny', severity: 2 },
  { id: 3, phase: 1, links: [['&TX:level', '@eq 0', 'setvar:tx.level=2']], ...quiet },
  { id: 4, phase: 1, links: [['&TX:level', '@eq 0', 'setvar:tx.level=9']], ...quiet },
  { id: 5, phase: 1, links: [[...always, 'setvar:tx.five=5', 'setvar:tx.score=0']], ...quiet },
  { id: 6, phase: 1, links: [['TX:level', '@eq 2']], skipAfter: 'END-START', ...quiet },
  { id: 7, phase: 1, links: [[...always, 'setvar:tx.level=1']], ...quiet },
  'END-START',
  { id: 8, phase: 1, links: [['ARGS:drop', '@rx .', 'setvar:tx.seen_%{MATCHED_VAR}=1']] },
  { id: 20, links: [['TX:level', '@lt 1']], skipAfter: 'END-A', ...quiet },
  { id: 21, links: [['ARGS', '@rx x', 'setvar:tx.score=+%{tx.five}']] },
  { id: 22, links: [['TX:level', '@lt 2']], skipAfter: 'END-A', ...quiet },
  { id: 23, links: [['ARGS', '@rx y', 'setvar:tx.score=+%{tx.five}']] },
  { id: 24, links: [['TX:level', '@lt 3']], skipAfter: 'END-A', ...quiet },
  { id: 25, links: [['ARGS', '@rx z', 'setvar:tx.score=+%{tx.five}']] },
  'END-A',
  {
    id: 30,
    links: [
      ['TX:score', '@ge %{tx.five}'],
      ['TX:level', '@ge 1'],
    ],
    disruptive: 'deny',
  },
  { id: 40, phase: 4, links: [['RESPONSE_BODY', '@rx secret', 'setvar:tx.out=+1']] },
  { id: 41, phase: 4, links: [['TX:out', '@ge 1']], disruptive: 'deny' },
]

/** Replaces, or with null removes, rules of the small CRS and adds others. */
function changed(...more: readonly RuleText[]): readonly (RuleText | string)[] {
  return [...crs.slice(0, 8), ...more, ...crs.slice(8)]
}

const remover = (action: string): RuleText => ({
  id: 50,
  phase: 1,
  links: [['ARGS:remove', '@rx .', action]],
  ...quiet,
})

/** Every rule again, under another id and behind its own markers. */
function twice(
  rules: readonly (RuleText | string)[],
  between: RuleText[] = [],
): (RuleText | string)[] {
  const again = rules.map((rule) => {
    if (typeof rule === 'string') return `${rule}-AGAIN`
    const { id, skipAfter, ...same } = rule
    const skips = skipAfter === undefined ? {} : { skipAfter: `${skipAfter}-AGAIN` }
    return { ...same, ...skips, id: (id ?? 0) + 100 }
  })
  return [...rules, ...between, ...again]
}

/** Sets its member when another has been set, as that one does in turn. */
const circle: readonly RuleText[] = [
  { id: 60, phase: 1, links: [['TX:one', '@eq 1', 'setvar:tx.two=1']], ...quiet },
  { id: 61, phase: 1, links: [['TX:two', '@eq 1', 'setvar:tx.one=1', 'setvar:tx.level=3']] },
]
const intoTheCircle: RuleText = {
  id: 62,
  phase: 1,
  links: [['ARGS:raise', '@rx .', 'setvar:tx.one=1']],
}

const programs: readonly (readonly [string, readonly (RuleText | string)[]])[] = [
  ['as it is', crs],
  [
    'with a rule that raises the level',
    changed({
      id: 50,
      phase: 1,
      links: [['ARGS:raise', '@rx .', 'setvar:tx.level=3']],
      ...quiet,
    }),
  ],
  [
    'with a rule that may set any member',
    changed({
      id: 50,
      phase: 1,
      links: [['ARGS:raise', '@rx (.*)', 'capture', 'setvar:tx.%{tx.1}=3']],
      ...quiet,
    }),
  ],
  ['with a ctl that removes a skipping rule', changed(remover('ctl:ruleRemoveById=24'))],
  ['with a ctl that removes the rules it skips too', changed(remover('ctl:ruleRemoveById=20-25'))],
  [
    'with a jump into what is skipped',
    [
      ...crs.slice(0, 10),
      { id: 51, links: [['ARGS:jump', '@rx .']], skip: 5, ...quiet },
      ...crs.slice(10),
    ],
  ],
  [
    'with an early rule that ends the folding',
    [{ id: 52, phase: 1, links: [['ARGS:raise', '@rx .', 'setvar:tx.setup=1']], ...quiet }, ...crs],
  ],
  [
    'with a start that a request may leave out',
    [
      {
        id: 53,
        phase: 1,
        links: [['ARGS:jump', '@rx .']],
        disruptive: 'allow',
        disruptiveArgument: 'phase',
      },
      ...crs,
    ],
  ],
  ['with every rule twice', twice(crs)],
  [
    'with every rule twice, and one between that raises the level',
    twice(crs, [
      { id: 70, phase: 1, links: [['ARGS:raise', '@rx .', 'setvar:tx.level=3']], ...quiet },
    ]),
  ],
  [
    'with every rule twice, and one between that takes the level back',
    twice(crs, [
      { id: 70, phase: 1, links: [['ARGS:raise', '@rx .', 'setvar:!tx.level']], ...quiet },
    ]),
  ],
  ['with rules that only they themselves could set off', changed(...circle)],
  ['with rules that a request sets off', changed(intoTheCircle, ...circle)],
  ['with rules that a request sets off behind them', changed(...circle, intoTheCircle)],
  [
    'with a chain that fails at its first link before the start',
    [
      {
        id: 71,
        phase: 1,
        links: [
          ['TX:forced', '@eq 1', 'setvar:tx.level=3'],
          ['ARGS:raise', '@rx .', 'setvar:tx.level=1'],
        ],
        ...quiet,
      },
      ...crs,
    ],
  ],
  ['with a constant denial', [{ id: 54, phase: 1, links: [always], disruptive: 'deny' }, ...crs]],
]

const requests: readonly RequestText[] = [
  {},
  { 'ARGS:a': 'x' },
  { 'ARGS:a': 'xyz', 'REQUEST_HEADERS:type': 'json' },
  { 'ARGS:a': 'z' },
  { 'ARGS:a': 'z', 'ARGS:remove': '1' },
  { 'ARGS:a': 'z', 'ARGS:raise': 'level' },
  { 'ARGS:a': 'xz', 'ARGS:jump': '1' },
  { 'ARGS:drop': 'a' },
]

function outcome(program: PreparedProgram, rules: readonly (RuleText | string)[], index: number) {
  const { scanner } = fixture(rules, requests[index] ?? {})
  const transaction = new Transaction(program, scanner, { facts, mode: 'block' })
  const results = [1, 2, 3, 4, 5].map((phase) => runPhase(transaction, phase))
  return {
    results,
    matched: transaction.matched.map((match) => match.rule.id),
    tx: new Map(transaction.tx),
    // What ctl said of the body; which phases are scanned may differ, that is the gain.
    told: scanner.told.filter((call) => !call.startsWith('scan')),
  }
}

for (const [name, rules] of programs) {
  test(`a pruned program decides as the whole one does: ${name}`, () => {
    const { program } = fixture(rules, {})
    const [whole, pruned] = [prepareUnfolded(program), prepare(program)]
    for (const index of requests.keys()) {
      // A constant denial ends phase 1 before the start; what TX then holds nobody reads.
      expect(outcome(pruned, rules, index)).toEqual(outcome(whole, rules, index))
    }
  })
}

const looked = (program: PreparedProgram, phase: number): number[] => {
  const {
    controls = [],
    byLeaf = new Map<number, number[]>(),
    rules = [],
  } = program.phases[phase] ?? {}
  return [...controls, ...[...byLeaf.values()].flat()]
    .toSorted((one, other) => one - other)
    .map((index) => rules[index]?.rule.id ?? 0)
}

test('the start runs once, and what the level skips is never looked at', () => {
  const prepared = prepare(fixture(crs, {}).program)
  expect(Object.fromEntries(prepared.initialTx)).toEqual({ level: '2', five: '5', score: '0' })
  expect([1, 2, 4].map((phase) => looked(prepared, phase))).toEqual([[1, 8], [21, 23, 30], []])
})

test('a second copy of the rules leaves the levels as certain as the first', () => {
  const plain = crs.filter((rule) => typeof rule === 'string' || rule.id !== 7)
  const prepared = prepare(fixture(twice(plain), {}).program)
  expect(looked(prepared, 2)).toEqual([21, 23, 30, 121, 123, 130])
})

test('rules that only they themselves could set off are never looked at', () => {
  const prepared = prepare(fixture(changed(...circle), {}).program)
  expect(looked(prepared, 1)).toEqual([1, 8])
  const reached = prepare(fixture(changed(intoTheCircle, ...circle), {}).program)
  expect(looked(reached, 1)).toEqual([1, 62, 60, 61, 8])
})

test('a chain that fails at a link that reads no request ends no folding', () => {
  const chain: RuleText = {
    id: 71,
    phase: 1,
    links: [
      ['TX:forced', '@eq 1'],
      ['ARGS:raise', '@rx .', 'setvar:tx.level=1'],
    ],
    ...quiet,
  }
  const prepared = prepare(fixture([chain, ...crs], {}).program)
  expect(prepared.initialTx.get('level')).toBe('2')
  expect(looked(prepared, 1)).toEqual([1, 8])
})

test('the response is not asked for when only its body is read and nobody hands it over', () => {
  expect(prepare(fixture(crs, {}).program).readsResponse).toBe(false)
  const open = fixture(crs, {}, { responseBodyAccess: true })
  expect(prepare(open.program).readsResponse).toBe(true)
  const opened = fixture(changed(remover('ctl:responseBodyAccess=On')), {})
  expect(prepare(opened.program).readsResponse).toBe(true)
})

test('the response is asked for when only a macro reads it', () => {
  const rule: RuleText = { id: 60, phase: 3, links: [['', '@unconditionalMatch']] }
  const silent = fixture([rule], {})
  expect(prepare(silent.program).readsResponse).toBe(false)
  const telling = fixture([{ ...rule, msg: 'answered %{RESPONSE_STATUS}' }], {})
  expect(prepare(telling.program).readsResponse).toBe(true)
})

const excluders: readonly (readonly [action: string, folds: boolean])[] = [
  ['ctl:ruleRemoveById=21', true],
  ['ctl:ruleRemoveTargetById=1-99;ARGS:x', true],
  ['ctl:ruleRemoveById=3', false],
  ['ctl:ruleRemoveTargetById=1-99;TX:level', false],
]

for (const [action, folds] of excluders)
  test(`with ${action} before them the rules ${folds ? 'fold' : 'do not fold'}`, () => {
    const before = { ...remover(action), id: 51 }
    const { initialTx } = prepare(fixture([before, ...crs], {}).program)
    expect(initialTx.has('level')).toBe(folds)
  })
