/** SecLang over persistent collections: each case is a row of requests to rules over one store. */
import { expect, test } from 'vitest'
import type { CollectionSource } from './open-collection.ts'
import { openCollectionStore } from '../scanner.ts'
import { prepare } from '../prepared.ts'
import { runPhase } from '../evaluate.ts'
import type { EngineSettings } from '../rule.ts'
import { facts, fixture } from '../testing/fixture.ts'
import type { RequestText, RuleText } from '../testing/fixture.ts'
import { Transaction } from '../transaction.ts'

/** One request, and what it finds. */
interface Step {
  /** Since the start of the case. */
  readonly atSeconds?: number
  readonly request?: RequestText
  readonly settings?: Partial<EngineSettings>
  readonly matched?: readonly number[]
  readonly message?: string
}

interface Case {
  readonly name: string
  readonly rules: readonly RuleText[]
  readonly steps: readonly Step[]
}

const epochMs = Date.UTC(2026, 10, 21)
const always = ['', '@unconditionalMatch'] as const
const open = 'initcol:ip=%{REMOTE_ADDR}'
const from = (address: string): RequestText => ({ REMOTE_ADDR: address })
const alice = from('192.0.2.1')
const quiet = { log: false, auditLog: false }
const tells = (msg: string): RuleText => ({ id: 99, links: [always], msg })

const cases: readonly Case[] = [
  {
    name: 'a counter goes on in the next request of the same key, and in no other',
    rules: [
      { id: 1, links: [[...always, open, 'setvar:ip.count=+1']], ...quiet },
      tells('%{ip.count}'),
      { id: 2, links: [['IP:count', '@gt 1']] },
    ],
    steps: [
      { request: alice, matched: [99], message: '1' },
      { request: from('192.0.2.2'), matched: [99], message: '1' },
      { request: alice, matched: [99, 2], message: '2' },
    ],
  },
  {
    name: 'setvar sets, counts both ways, flags and removes; names ignore case, keys do not',
    rules: [
      {
        id: 1,
        links: [
          [
            ...always,
            'initcol:global=%{ARGS.key}',
            'setvar:global.A=7',
            'setvar:GLOBAL.a=-9',
            'setvar:global.flag',
            'setvar:global.gone=1',
            'setvar:!global.GONE',
            'setvar:global.sum=+%{GLOBAL.a}',
            'setvar:global.n_%{ARGS.key}=%{global.flag}x',
          ],
        ],
        ...quiet,
      },
      tells('%{global.a} %{GLOBAL.Flag} [%{global.gone}] %{global.sum} %{global.n_k}'),
    ],
    steps: [
      { request: { 'ARGS:key': 'k' }, message: '-2 1 [] -2 1x' },
      { request: { 'ARGS:key': 'k' }, message: '-2 1 [] -4 1x' },
      { request: { 'ARGS:key': 'K' }, message: '-2 1 [] -2 1x' },
    ],
  },
  {
    name: 'members are read by name, by pattern, all of them, and counted',
    rules: [
      {
        id: 1,
        links: [[...always, open, 'setvar:ip.a1=x', 'setvar:ip.a2=y', 'setvar:ip.b=x']],
        ...quiet,
      },
      { id: 2, links: [['&IP', '@eq 3']] },
      { id: 3, links: [['&IP:/^a/', '@eq 2']] },
      { id: 4, links: [['&IP:nothing', '@eq 0']] },
      { id: 5, links: [['IP:/^A/', '@streq y']], msg: '%{MATCHED_VAR_NAME}' },
      { id: 6, links: [['IP|!IP:b|!IP:a1', '@streq x']] },
      { id: 7, links: [['&IP:key', '@eq 1']] },
      { id: 8, links: [['SESSION:a1|&USER', '@rx .']] },
    ],
    steps: [{ request: alice, matched: [2, 3, 4, 5, 7, 8], message: 'IP:a2' }],
  },
  {
    name: 'a member ends when expirevar said, and begins without an end',
    rules: [
      { id: 1, links: [[...always, open]], ...quiet },
      {
        id: 2,
        links: [['ARGS:bad', '@rx .', 'setvar:ip.blocked=1', 'expirevar:ip.blocked=%{ARGS.bad}']],
        ...quiet,
      },
      { id: 3, links: [['IP:blocked', '@eq 1']] },
    ],
    steps: [
      { request: alice, matched: [] },
      { request: { ...alice, 'ARGS:bad': '60' }, matched: [3] },
      { request: alice, atSeconds: 59, matched: [3] },
      { request: alice, atSeconds: 60, matched: [] },
      { request: { ...alice, 'ARGS:bad': 'soon' }, atSeconds: 61, matched: [3] },
      { request: alice, atSeconds: 900, matched: [3] },
    ],
  },
  {
    name: 'a collection ends SecCollectionTimeout after its last update, or when TIMEOUT says',
    rules: [
      { id: 1, links: [[...always, open]], ...quiet },
      { id: 2, links: [['ARGS:set', '@rx .', 'setvar:ip.x=1']], ...quiet },
      { id: 3, links: [['ARGS:timeout', '@rx .', 'setvar:ip.timeout=%{ARGS.timeout}']], ...quiet },
      { id: 4, links: [['IP:x', '@eq 1']] },
      tells('%{ip.timeout}'),
    ],
    steps: [
      { request: { ...alice, 'ARGS:set': '1' }, settings: { collectionTimeoutSeconds: 100 } },
      { request: alice, atSeconds: 99, matched: [4, 99], message: '100' },
      { request: alice, atSeconds: 100, matched: [99], message: '3600' },
      { request: { ...alice, 'ARGS:set': '1', 'ARGS:timeout': '10' }, atSeconds: 200 },
      { request: alice, atSeconds: 209, matched: [4, 99], message: '10' },
      { request: alice, atSeconds: 210, matched: [99] },
    ],
  },
  {
    name: 'the built-in members',
    rules: [
      { id: 1, links: [[...always, open]], ...quiet },
      { id: 2, links: [['ARGS:set', '@rx .', 'setvar:ip.x=+1', 'setvar:ip.y=1']], ...quiet },
      tells(
        '%{ip.key} %{ip.is_new} %{ip.create_time} [%{ip.last_update_time}] %{ip.timeout} ' +
          '%{ip.update_counter} %{ip.update_rate}',
      ),
    ],
    steps: [
      { request: alice, message: `192.0.2.1 1 ${epochMs / 1000} [] 3600 0 0` },
      {
        request: { ...alice, 'ARGS:set': '1' },
        atSeconds: 5,
        message: `192.0.2.1 1 ${epochMs / 1000 + 5} [${epochMs / 1000 + 5}] 3600 1 1`,
      },
      {
        request: { ...alice, 'ARGS:set': '1' },
        atSeconds: 35,
        message: `192.0.2.1 0 ${epochMs / 1000 + 5} [${epochMs / 1000 + 35}] 3600 2 4`,
      },
    ],
  },
  {
    name: 'deprecatevar takes its amount away for every interval since the last update',
    rules: [
      { id: 1, links: [[...always, open]], ...quiet },
      { id: 2, links: [['ARGS:bad', '@rx .', 'setvar:ip.score=+100']], ...quiet },
      { id: 3, links: [[...always, 'deprecatevar:ip.score=60/300']], ...quiet },
      tells('%{ip.score}'),
    ],
    steps: [
      { request: alice, message: '' },
      { request: { ...alice, 'ARGS:bad': '1' }, message: '100' },
      { request: alice, atSeconds: 299, message: '100' },
      { request: alice, atSeconds: 301, message: '40' },
      { request: { ...alice, 'ARGS:bad': '1' }, atSeconds: 700, message: '80' },
      { request: alice, atSeconds: 3000, message: '0' },
    ],
  },
  {
    name: 'setsid, setuid and setrsc name and open; SecWebAppId keeps applications apart',
    rules: [
      {
        id: 1,
        links: [
          [
            ...always,
            'setsid:%{ARGS.s}',
            'setuid:%{ARGS.u}',
            'setrsc:/page',
            'setvar:session.n=+1',
            'setvar:user.n=+1',
            'setvar:resource.n=+1',
          ],
        ],
        ...quiet,
      },
      tells('%{SESSIONID} %{USERID} %{session.n}%{user.n}%{resource.n} %{WEBAPPID}'),
    ],
    steps: [
      { request: { 'ARGS:s': 's1', 'ARGS:u': 'u1' }, message: 's1 u1 111 ' },
      { request: { 'ARGS:s': 's2', 'ARGS:u': 'u1' }, message: 's2 u1 122 ' },
      {
        request: { 'ARGS:s': 's1', 'ARGS:u': 'u1' },
        settings: { webAppId: 'shop' },
        message: 's1 u1 111 shop',
      },
    ],
  },
  {
    name: 'who has no key has no collection; a very long key works as well as another',
    rules: [
      { id: 1, links: [[...always, 'setsid:%{ARGS.s}', 'setvar:session.n=+1']], ...quiet },
      tells('%{session.n}'),
    ],
    steps: [
      { request: {}, message: '' },
      { request: {}, message: '' },
      { request: { 'ARGS:s': 'x'.repeat(5_000) }, message: '1' },
      { request: { 'ARGS:s': 'x'.repeat(5_000) }, message: '2' },
      { request: { 'ARGS:s': `${'x'.repeat(5_000)}y` }, message: '1' },
    ],
  },
  {
    name: 'a macro in an operator reads the collection of this moment',
    rules: [
      { id: 1, links: [[...always, open, 'setvar:ip.limit=2', 'setvar:ip.n=+1']], ...quiet },
      { id: 2, links: [['IP:n', '@gt %{ip.limit}']] },
    ],
    steps: [
      { request: alice, matched: [] },
      { request: alice, matched: [] },
      { request: alice, matched: [2] },
    ],
  },
]

for (const { name, rules, steps } of cases) {
  test(name, () => {
    let nowMs = epochMs
    const collections: CollectionSource = { store: openCollectionStore('own'), now: () => nowMs }
    for (const step of steps) {
      const { atSeconds, request = {}, settings, matched, message } = step
      if (atSeconds !== undefined) nowMs = epochMs + atSeconds * 1_000
      const { program, scanner } = fixture(rules, request, settings)
      const transaction = new Transaction(prepare(program), scanner, {
        facts,
        mode: 'block',
        collections,
      })
      runPhase(transaction, 2)
      if (matched !== undefined) {
        expect(transaction.matched.map(({ rule }) => rule.id)).toEqual(matched)
      }
      if (message === undefined) continue
      expect(transaction.matched.findLast((one) => one.message !== '')?.message ?? '').toBe(message)
    }
  })
}

test('rules without collections never touch the store', () => {
  const untouched = new Proxy(openCollectionStore('own'), {
    get: (): never => {
      throw new Error('touched')
    },
  })
  const rules: RuleText[] = [
    { id: 1, links: [[...always, 'setvar:tx.a=1', 'setvar:ip.a=1', 'expirevar:ip.a=1']] },
    { id: 2, links: [['IP:a|&IP', '@rx .']], msg: '%{ip.a}' },
  ]
  const { program, scanner } = fixture(rules, {})
  const collections = { store: untouched, now: () => 0 }
  const transaction = new Transaction(prepare(program), scanner, {
    facts,
    mode: 'block',
    collections,
  })
  runPhase(transaction, 2)
  expect(transaction.matched.map(({ rule }) => rule.id)).toEqual([1, 2])
})
