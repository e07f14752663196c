import { afterAll, describe, expect, test } from 'vitest'
import { createEngine } from '../offline/engine.ts'
import { parseSecLang } from '../seclang/parser.ts'
import { compile } from './compile.ts'

const start = `SecRuleEngine On
SecAction "id:1,phase:1,pass,nolog,setvar:'tx.list=/if/ /lock-token/'"`

interface Parts {
  readonly head?: string
  readonly set?: string
  readonly next?: string
  readonly others?: string
}

function chain({
  head = 'REQUEST_HEADERS_NAMES "@rx ^.*$"',
  set = "capture,t:none,t:lowercase,setvar:'tx.seen_%{tx.0}=/%{tx.0}/'",
  next = 'TX:/^seen_/ "@within %{tx.list}"',
  others = '',
}: Parts): string {
  return `${start}
SecRule ${head} "id:10,phase:1,deny,status:403,log,msg:'%{MATCHED_VAR}',${set},chain"
  SecRule ${next} "setvar:tx.score=+1"
${others}`
}

const log = 'phase:2,pass,log,t:none'

/** Programs whose chain runs only when it may match, and those whose chain always runs. */
const programs: readonly (readonly [string, Parts, boolean])[] = [
  ['the chain alone', {}, true],
  [
    'another pattern of TX that begins otherwise',
    { others: `SecRule TX:/^seem_/ "@rx x" "id:20,${log}"` },
    true,
  ],
  [
    'a pattern that only the value can bring in',
    { others: `SecRule TX:/odd_.*/ "@rx x" "id:20,${log}"` },
    true,
  ],
  [
    'one with a last character that may be missing',
    { others: `SecRule TX:/odd_*/ "@rx x" "id:20,${log}"` },
    true,
  ],
  [
    'a reader of TX:0',
    { others: `SecRule ARGS:q "@contains z" "id:20,${log},msg:'%{TX.0}'"` },
    true,
  ],
  ['a pattern over the border', { others: `SecRule TX:/n_if/ "@rx x" "id:20,${log}"` }, false],
  [
    'a pattern that is no plain text',
    { others: `SecRule TX:/^s.*if/ "@rx x" "id:20,${log}"` },
    false,
  ],
  ['a reader of all of TX', { others: `SecRule TX "@streq x" "id:20,${log}"` }, false],
  ['a counter of such members', { others: `SecRule &TX:/^seen/ "@gt 3" "id:20,${log}"` }, false],
  ['a reader of one of them', { others: `SecRule TX:seen_host "@rx x" "id:20,${log}"` }, false],
  [
    'a macro of one of them',
    { others: `SecRule ARGS:q "@rx x" "id:20,${log},msg:'%{tx.seen_host}'"` },
    false,
  ],
  ['another writer', { others: `SecAction "id:20,${log},setvar:tx.seen_if=/if/"` }, false],
  [
    'another writer of any name',
    { others: `SecRule ARGS:q "@rx ^.*$" "id:20,${log},capture,setvar:'tx.%{tx.0}=/if/'"` },
    false,
  ],
  [
    'a writer of the list',
    { others: `SecRule ARGS:q "@rx ." "id:20,phase:1,pass,nolog,setvar:'tx.list=/x/'"` },
    false,
  ],
  ['a first link that may not match', { head: 'REQUEST_HEADERS_NAMES "@rx ^[a-z]*$"' }, false],
  ['a negated first link', { head: 'REQUEST_HEADERS_NAMES "!@rx ^.*$"' }, false],
  ['no capture', { set: "t:none,setvar:'tx.seen_%{MATCHED_VAR}=/%{MATCHED_VAR}/'" }, false],
  [
    'a second action',
    { set: "capture,t:none,setvar:'tx.seen_%{tx.0}=/%{tx.0}/',setvar:tx.n=+1" },
    false,
  ],
  ['a count', { set: "capture,t:none,setvar:'tx.seen_%{tx.0}=+%{tx.0}'" }, false],
  ['another operator', { next: 'TX:/^seen_/ "@rx ^/if/$"' }, false],
  ['a negated list', { next: 'TX:/^seen_/ "!@within %{tx.list}"' }, false],
  ['another beginning', { next: 'TX:/^seen/ "@within %{tx.list}"' }, false],
  ['more targets', { next: 'TX:/^seen_/|ARGS "@within %{tx.list}"' }, false],
]

const headers = ['Host', 'If', 'iF', 'f', 'Lock-Token', 'odd_one', 'Odd', 'x-odd_', 'Range', '/']
const requests = headers.flatMap((name) =>
  ['/', '/?q=z', '/?q=xx'].map((target) => ({
    method: 'GET',
    target,
    headers: [
      ['Host', 'a.example'],
      [name, 'v'],
    ] as const,
  })),
)

function isGuarded(text: string): boolean {
  const { phases } = compile(parseSecLang([{ file: 'test.conf', text }]), () => 1)
  const rules = phases.flat().filter((item) => typeof item !== 'string')
  return rules.some(({ guard }) => guard !== undefined)
}

describe.each(programs)('%s', (_, parts, guarded) => {
  const text = chain(parts)
  // The same with one more rule that no request reaches, but that might read such a member.
  const reader = `SecRule REQUEST_METHOD "@streq NONE" "id:90,phase:5,pass,log,msg:'%{tx.seen_x}'"`
  const open = `${text}\n${reader}`
  const [quick, whole] = [text, open].map((one) => createEngine([{ file: 'test.conf', text: one }]))
  afterAll(() => {
    quick?.close()
    whole?.close()
  })

  test(`the chain is ${guarded ? '' : 'not '}guarded`, () => {
    expect(isGuarded(text)).toBe(guarded)
    expect(isGuarded(open)).toBe(false)
  })

  test('decides as it does without a guard', () => {
    for (const request of requests) {
      const [one, other] = [quick, whole].map((engine) => {
        const inspected = engine?.inspect(request)
        const told = inspected?.matched.map(({ rule, message, value }) => [rule.id, message, value])
        return { verdict: inspected?.verdict, told, zero: inspected?.tx.get('0') }
      })
      expect(one).toEqual(other)
    }
  })
})
