import { expect, test } from 'vitest'

import { facts, fixture } from './testing/fixture.ts'
import type { RequestText, RuleText } from './testing/fixture.ts'
import { prepare } from './prepared.ts'
import { runPhase } from './evaluate.ts'
import { Transaction } from './transaction.ts'
import type { EngineSettings } from './rule.ts'
import type { WafMode } from './verdict.ts'

interface Case {
  readonly name: string
  readonly rules: readonly (RuleText | string)[]
  readonly request?: RequestText
  readonly settings?: Partial<EngineSettings>
  readonly mode?: WafMode
  readonly expect: {
    readonly matched?: readonly number[]
    readonly denied?: number | null
    readonly tx?: Readonly<Record<string, string | undefined>>
    readonly messages?: readonly string[]
    readonly data?: readonly string[]
  }
}

const seen = { id: 99, links: [['', '@unconditionalMatch']] } as const satisfies RuleText

const cases: readonly Case[] = [
  {
    name: 'a scanned rule matches when its leaf has a hit',
    rules: [
      { id: 1, links: [['ARGS', '@rx attack']] },
      { id: 2, links: [['ARGS', '@rx other']] },
    ],
    request: { 'ARGS:a': 'an attack' },
    expect: { matched: [1], denied: null },
  },
  {
    name: 'deny stops the phase with its status',
    rules: [{ id: 1, links: [['ARGS', '@rx x']], disruptive: 'deny', status: 406 }, seen],
    request: { 'ARGS:a': 'x' },
    expect: { matched: [1], denied: 406 },
  },
  {
    name: 'detection-only logs and stops nothing',
    rules: [{ id: 1, links: [['ARGS', '@rx x']], disruptive: 'deny' }, seen],
    request: { 'ARGS:a': 'x' },
    settings: { ruleEngine: 'detection-only' },
    expect: { matched: [1, 99], denied: null },
  },
  {
    name: 'a route in detect mode stops nothing, whatever ctl says',
    rules: [
      { id: 1, links: [['', '@unconditionalMatch', 'ctl:ruleEngine=On']] },
      { id: 2, links: [['ARGS', '@rx x']], disruptive: 'deny' },
    ],
    request: { 'ARGS:a': 'x' },
    mode: 'detect',
    expect: { matched: [1, 2], denied: null },
  },
  {
    name: 'setvar runs once for every value that matched',
    rules: [{ id: 1, links: [['ARGS', '@rx x', 'setvar:tx.n=+5']] }],
    request: { 'ARGS:a': 'x', 'ARGS:b': 'x', 'ARGS:c': 'y' },
    expect: { tx: { n: '10' } },
  },
  {
    name: 'setvar adds, subtracts, sets, flags and removes; keys ignore case',
    rules: [
      {
        id: 1,
        links: [
          [
            '',
            '@unconditionalMatch',
            'setvar:tx.A=7',
            'setvar:tx.a=-2',
            'setvar:tx.B=%{tx.a}0',
            'setvar:TX.flag',
            'setvar:tx.gone=1',
            'setvar:!tx.GONE',
            'setvar:tx.sum=+%{TX.b}',
            'setvar:tx.name_%{tx.a}=v=w',
          ],
        ],
      },
    ],
    expect: { tx: { a: '5', b: '50', flag: '1', gone: undefined, sum: '50', name_5: 'v=w' } },
  },
  {
    name: 'a chain matches when all links do; setvar of an early link stays when it fails',
    rules: [
      {
        id: 1,
        links: [
          ['ARGS:a', '@rx x', 'setvar:tx.first=1'],
          ['ARGS:b', '@rx x', 'setvar:tx.second=1'],
        ],
        disruptive: 'deny',
      },
      {
        id: 2,
        links: [
          ['ARGS:a', '@rx x'],
          ['ARGS:b', '@rx y'],
        ],
      },
    ],
    request: { 'ARGS:a': 'x', 'ARGS:b': 'y' },
    expect: { matched: [2], denied: null, tx: { first: '1', second: undefined } },
  },
  {
    name: 'captures reach later links and the log, over those of an earlier match',
    rules: [
      { id: 1, links: [['ARGS:a', '@rx (k)(v)', 'capture']] },
      {
        id: 2,
        links: [
          ['ARGS:a', '@rx ^(k)', 'capture'],
          ['TX:1', '@streq k'],
        ],
        msg: 'found %{TX.1}%{TX.2} in %{MATCHED_VAR_NAME}',
      },
    ],
    request: { 'ARGS:a': 'kv' },
    expect: { matched: [1, 2], messages: ['', 'found kv in TX:1'] },
  },
  {
    name: 'MATCHED_VARS holds every value of the chain so far',
    rules: [
      {
        id: 1,
        links: [
          ['ARGS', '@rx x'],
          ['MATCHED_VARS', '@streq xb'],
        ],
        logdata: '%{MATCHED_VAR_NAME}=%{MATCHED_VAR}',
      },
    ],
    request: { 'ARGS:a': 'xa', 'ARGS:b': 'xb' },
    expect: { matched: [1], data: ['MATCHED_VARS:ARGS:b=xb'] },
  },
  {
    name: 'skipAfter goes on behind the marker, skip leaves out as many rules as it says',
    rules: [
      { id: 1, links: [['', '@unconditionalMatch']], skipAfter: 'END' },
      { id: 2, links: [['ARGS', '@rx x']], disruptive: 'deny' },
      'END',
      { id: 3, links: [['', '@unconditionalMatch']], skip: 1 },
      { id: 4, links: [['', '@unconditionalMatch']] },
      { id: 5, links: [['ARGS', '@rx x']] },
      { id: 6, links: [['', '@unconditionalMatch']], skipAfter: 'NOWHERE' },
      { id: 7, links: [['ARGS', '@rx x']] },
    ],
    request: { 'ARGS:a': 'x' },
    expect: { matched: [1, 3, 5, 6], denied: null },
  },
  {
    name: 'numbers compare as atoi reads them; an absent variable has no value, a count has',
    rules: [
      { id: 1, links: [['', '@unconditionalMatch', 'setvar:tx.n=5abc', 'setvar:tx.limit=5']] },
      { id: 2, links: [['TX:N', '@ge %{tx.limit}']] },
      { id: 3, links: [['TX:n', '@gt 5']] },
      { id: 4, links: [['TX:n', '!@lt 5']] },
      { id: 5, links: [['TX:absent', '@eq 0']] },
      { id: 6, links: [['&TX:absent', '@eq 0']] },
      { id: 7, links: [['&TX:n', '@eq 1']] },
      { id: 8, links: [['&TX', '@eq 2']] },
      { id: 9, links: [['TX:/^lim/', '@le 5']] },
      { id: 10, links: [['TX|!TX:n', '@rx abc']] },
    ],
    expect: { matched: [1, 2, 4, 6, 7, 8, 9] },
  },
  {
    name: 'a dynamic argument is expanded when the rule is reached',
    rules: [
      {
        id: 1,
        links: [['', '@unconditionalMatch', 'setvar:tx.allowed=GET HEAD']],
        log: false,
        auditLog: false,
      },
      { id: 2, links: [['REQUEST_METHOD', '!@within %{tx.allowed}']], disruptive: 'deny' },
    ],
    request: { REQUEST_METHOD: 'TRACE' },
    expect: { matched: [2], denied: 403 },
  },
  {
    name: 'rules are removed by id, range, tag and message',
    rules: [
      {
        id: 1,
        links: [
          [
            '',
            '@unconditionalMatch',
            'ctl:ruleRemoveById=2',
            'ctl:ruleRemoveById=10-19',
            'ctl:ruleRemoveByTag=attack',
            'ctl:ruleRemoveByMsg=Bad words',
          ],
        ],
      },
      { id: 2, links: [['ARGS', '@rx x']] },
      { id: 3, links: [['', '@unconditionalMatch']], tags: ['a', 'attack'] },
      { id: 4, links: [['', '@unconditionalMatch']], msg: 'Bad words' },
      { id: 15, links: [['ARGS', '@rx x']] },
      // ModSecurity v3 takes no SecAction away by its id.
      { id: 16, links: [['', '@unconditionalMatch']] },
      { id: 20, links: [['ARGS', '@rx x']] },
    ],
    request: { 'ARGS:a': 'x' },
    expect: { matched: [1, 16, 20] },
  },
  {
    name: 'a removed target hides its values and no others',
    rules: [
      {
        id: 1,
        links: [
          [
            '',
            '@unconditionalMatch',
            'ctl:ruleRemoveTargetById=2;ARGS:Pass',
            'ctl:ruleRemoveTargetByTag=t;ARGS:/^p/',
            'ctl:ruleRemoveTargetByMsg=m;ARGS',
          ],
        ],
      },
      { id: 2, links: [['ARGS', '@rx x', 'setvar:tx.two=+1']] },
      { id: 3, links: [['ARGS', '@rx x', 'setvar:tx.three=+1']], tags: ['t'] },
      { id: 4, links: [['ARGS', '@rx x']], msg: 'm' },
    ],
    request: { 'ARGS:pass': 'x', 'ARGS:page': 'x', 'ARGS:q': 'x' },
    expect: { matched: [1, 2, 3], tx: { two: '2', three: '1' } },
  },
  {
    name: 'ctl:ruleEngine=DetectionOnly disarms the rule that says it and those behind it',
    rules: [
      {
        id: 1,
        links: [['', '@unconditionalMatch', 'ctl:ruleEngine=DetectionOnly']],
        disruptive: 'deny',
      },
      { id: 2, links: [['ARGS', '@rx x']], disruptive: 'deny' },
    ],
    request: { 'ARGS:a': 'x' },
    expect: { matched: [1, 2], denied: null },
  },
  {
    name: 'ctl:ruleEngine=Off ends the rules at once',
    rules: [{ id: 1, links: [['', '@unconditionalMatch', 'ctl:ruleEngine=Off']] }, seen],
    expect: { matched: [1] },
  },
  {
    name: 'allow:phase ends the phase',
    rules: [
      {
        id: 1,
        links: [['', '@unconditionalMatch']],
        disruptive: 'allow',
        disruptiveArgument: 'phase',
      },
      seen,
    ],
    expect: { matched: [1], denied: null },
  },
  {
    name: 'a collection exists once initcol opened it',
    rules: [
      {
        id: 1,
        links: [['', '@unconditionalMatch', 'setvar:ip.early=1', 'initcol:ip=%{REMOTE_ADDR}']],
      },
      { id: 2, links: [['', '@unconditionalMatch', 'setvar:ip.count=+1']] },
      { id: 3, links: [['IP:count', '@eq 1']], msg: '%{ip.key} %{ip.early}%{ip.count}' },
    ],
    request: { REMOTE_ADDR: '192.0.2.1' },
    expect: { matched: [1, 2, 3], messages: ['', '', '192.0.2.1 1'] },
  },
  {
    name: 'macros read the rule, the request and nothing where nothing is',
    rules: [
      {
        id: 5,
        links: [['', '@unconditionalMatch']],
        severity: 2,
        msg: '%{RULE.id} %{rule.severity} %{REQUEST_HEADERS.Host} %{UNIQUE_ID} [%{NO.such}] %{x',
      },
    ],
    request: { 'REQUEST_HEADERS:host': 'h' },
    expect: { messages: ['5 2 h abc-123 [] %{x'] },
  },
  {
    name: 'HIGHEST_SEVERITY is the smallest number seen',
    rules: [
      { id: 1, links: [['', '@unconditionalMatch']], severity: 4 },
      { id: 2, links: [['', '@unconditionalMatch']], severity: 2 },
      { id: 3, links: [['', '@unconditionalMatch']], severity: 5 },
      { id: 4, links: [['HIGHEST_SEVERITY', '@eq 2']] },
    ],
    expect: { matched: [1, 2, 3, 4] },
  },
  {
    name: 'a rule that neither logs nor audits leaves no trace',
    rules: [{ id: 1, links: [['', '@unconditionalMatch']], log: false, auditLog: false }],
    expect: { matched: [] },
  },
]

for (const one of cases) {
  test(one.name, () => {
    const { program, scanner } = fixture(one.rules, one.request ?? {}, one.settings)
    const transaction = new Transaction(prepare(program), scanner, {
      facts,
      mode: one.mode ?? 'block',
    })
    const result = runPhase(transaction, 2)
    const { matched, denied, tx, messages, data } = one.expect
    if (matched !== undefined) {
      expect(transaction.matched.map((match) => match.rule.id)).toEqual(matched)
    }
    if (denied !== undefined) {
      const status = typeof result === 'object' && result !== null ? result.status : result
      expect(status).toBe(denied)
    }
    for (const [key, value] of Object.entries(tx ?? {})) expect(transaction.tx.get(key)).toBe(value)
    if (messages !== undefined) {
      expect(transaction.matched.map((match) => match.message)).toEqual(messages)
    }
    if (data !== undefined) expect(transaction.matched.map((match) => match.data)).toEqual(data)
  })
}

const faults = [
  ['ctl:noSuch=1', 'no ctl option is named "noSuch"'],
  ['ctl:ruleEngine=Maybe', '"Maybe": expected one of on, off, detectiononly'],
  ['ctl:ruleRemoveById=abc', '"abc" is no rule id or range of ids'],
  ['ctl:ruleRemoveTargetById=1', '"1": expected rules;target, such as 942100;ARGS:name'],
  ['setvar:nothing', '"nothing" names no variable; write collection.name, such as tx.score'],
  ['initcol:tx=1', '"tx=1": expected one of global, ip, session, user, resource, then =key'],
  ['fly:high', 'no action is named "fly"'],
] as const

for (const [action, message] of faults) {
  test(`${action} is refused with its place when the rules are prepared`, () => {
    const { program } = fixture([{ id: 3, links: [['ARGS', '@rx x', action]] }], {})
    expect(() => prepare(program)).toThrow(`test.conf:3: rule 3: ${message}`)
  })
}
