import { expect, test } from 'vitest'
import type { Rule } from '../rule.ts'
import { parseSecLang } from './parser.ts'

const three = `SecRule ARGS a "id:1,tag:'attack-sqli',msg:'SQL Injection',t:lowercase"
SecRule ARGS b "id:2,tag:'attack-xss',msg:'XSS',chain,deny,status:400"
  SecRule TX:a c
SecRule ARGS d "id:10,tag:'attack-xss',severity:2"
`

function rules(text: string): Rule[] {
  const { items } = parseSecLang([{ file: 'test.conf', text }])
  return items.filter((item) => item.kind === 'rule')
}

const removals = [
  ['SecRuleRemoveById 1', [2, 10]],
  ['SecRuleRemoveById 1 10', [2]],
  ['SecRuleRemoveById "2-10"', [1]],
  ['SecRuleRemoveById 1,2', [10]],
  ['SecRuleRemoveByTag attack-xss', [1]],
  ['SecRuleRemoveByTag "^attack-(?:sqli|xss)$"', []],
  ['SecRuleRemoveByTag attack', [1, 2, 10]],
  ['SecRuleRemoveByMsg "SQL Injection"', [2, 10]],
  ['SecRuleRemoveByMsg "SQL Inj"', [1, 2, 10]],
  ['SecRuleRemoveByMsg "SQL (Inj"', [1, 2, 10]],
] as const

for (const [directive, left] of removals)
  for (const [place, text] of [
    ['after', three + directive],
    ['before', `${directive}\n${three}`],
  ] as const)
    test(`${directive} ${place} the rules leaves ${left.join()}`, () =>
      expect(rules(text).map((rule) => rule.id)).toEqual(left))

const targets = [
  ['SecRuleUpdateTargetById 1 "!ARGS:q"', 1, 0, ['ARGS', '!ARGS:q']],
  ['SecRuleUpdateTargetById 1 "!ARGS:q,!ARGS:r"', 1, 0, ['ARGS', '!ARGS:q', '!ARGS:r']],
  ['SecRuleUpdateTargetById 2:1 "TX:b"', 2, 1, ['TX:a', 'TX:b']],
  ['SecRuleUpdateTargetById 2:1 "TX:b"', 2, 0, ['ARGS']],
  ['SecRuleUpdateTargetById 1-5 "!ARGS:q"', 2, 0, ['ARGS', '!ARGS:q']],
  ['SecRuleUpdateTargetById 1-5 "!ARGS:q"', 10, 0, ['ARGS']],
  ['SecRuleUpdateTargetById 1 "ARGS_GET" "ARGS"', 1, 0, ['ARGS_GET']],
  ['SecRuleUpdateTargetByTag attack-xss "!ARGS:q"', 10, 0, ['ARGS', '!ARGS:q']],
  ['SecRuleUpdateTargetByMsg "^XSS" "!ARGS:q"', 2, 0, ['ARGS', '!ARGS:q']],
] as const

for (const [directive, id, link, expected] of targets)
  test(`${directive} gives rule ${id}:${link} ${expected.join('|')}`, () => {
    const found = rules(three + directive).find((rule) => rule.id === id)?.links[link]?.targets
    const shown = found?.map(({ variable, name, exclude }) =>
      [exclude ? '!' : '', variable, name === null ? '' : `:${name}`].join(''),
    )
    expect(shown).toEqual(expected)
  })

const actions: readonly (readonly [string, number, Partial<Rule>])[] = [
  ['SecRuleUpdateActionById 2 "pass,status:200"', 2, { disruptive: 'pass', status: 200 }],
  ['SecRuleUpdateActionById 10 "severity:DEBUG,nolog"', 10, { severity: 7, log: false }],
  ['SecRuleUpdateActionById 10 "phase:1,tag:new"', 10, { phase: 1, tags: ['attack-xss', 'new'] }],
]

for (const [directive, id, expected] of actions)
  test(directive, () =>
    expect(rules(three + directive).find((rule) => rule.id === id)).toMatchObject(expected),
  )

const faulty = [
  ['SecRuleRemoveById x', /no list of ids/],
  ['SecRuleRemoveByTag ""', /tag is empty/],
  ['SecRuleUpdateTargetById 1 "FOO"', /unknown variable/],
  ['SecRuleUpdateActionById 1 "id:5"', /id cannot be updated/],
] as const

for (const [directive, expected] of faulty)
  test(`${directive} is a fault`, () => expect(() => rules(three + directive)).toThrow(expected))
