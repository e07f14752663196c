import { expect, test } from 'vitest'
import { parseActions } from './actions.ts'

const cases = [
  ['id:1,phase:2', ['id=1', 'phase=2']],
  ["msg:'a, b',log", ['msg=a, b', 'log=']],
  ["msg:'it\\'s',log", ["msg=it's", 'log=']],
  ["logdata:'a: %{MATCHED_VAR}'", ['logdata=a: %{MATCHED_VAR}']],
  [' id:1 ,\n  t:none , multiMatch', ['id=1', 't=none', 'multimatch=']],
  ["setvar:'tx.a=+%{tx.b}'", ['setvar=tx.a=+%{tx.b}']],
  ['setvar:tx.a=b:c', ['setvar=tx.a=b:c']],
  ['setvar:!tx.a', ['setvar=!tx.a']],
  ['ctl:ruleRemoveTargetById=1-9;ARGS:a', ['ctl=ruleRemoveTargetById=1-9;ARGS:a']],
  ['skipAfter:END-A,allow:phase', ['skipafter=END-A', 'allow=phase']],
  ["redirect:'http://a/?b,c'", ['redirect=http://a/?b,c']],
  ["id:'1',rev:''", ['id=1', 'rev=']],
  ['severity:CRITICAL,severity:7', ['severity=CRITICAL', 'severity=7']],
  [
    "initcol:ip=%{remote_addr},expirevar:'ip.a=60'",
    ['initcol=ip=%{remote_addr}', 'expirevar=ip.a=60'],
  ],
  ['pass,,log,', ['pass=', 'log=']],
  ['sanitizeArg:pw', ['sanitisearg=pw']],
] as const

for (const [text, expected] of cases)
  test(`${JSON.stringify(text)} is ${expected.join(' ')}`, () => {
    const actions = parseActions(text, expect.unreachable)
    expect(actions.map(({ name, argument }) => `${name}=${argument}`)).toEqual(expected)
  })

const faulty = [
  ['foo', /unknown action "foo"/],
  ['exec:/bin/sh', /exec is not supported/],
  ['proxy:http://a', /proxy is not supported/],
  ['id:abc', /not a positive number/],
  ['id:0', /not a positive number/],
  ['id', /no argument/],
  ['phase:6', /unknown phase/],
  ['severity:BAD', /unknown severity/],
  ['t:foo', /unknown transformation "foo"/],
  ['status:99', /not a final HTTP status/],
  ['deny:403', /takes no argument/],
  ['allow:all', /unknown scope/],
  ['skip:x', /not a number of rules/],
  ['setvar:foo', /setvar:foo: not understood/],
  ['initcol:tx=1', /not understood/],
  ['expirevar:ip.a', /not understood/],
  ['ctl:foo=1', /unknown ctl option "foo"/],
  ['ctl:ruleEngine=Maybe', /"Maybe" is no value/],
  ['ctl:ruleRemoveById=x', /"x" is no value/],
  ['ctl:ruleRemoveTargetByTag=a;FOO', /unknown variable "FOO"/],
  ["msg:'a'b'", null],
] as const

for (const [text, expected] of faulty)
  test(`${text} ${expected === null ? 'is accepted' : 'is a fault'}`, () => {
    const faults: string[] = []
    parseActions(text, (message) => faults.push(message))
    expect(faults.length).toBe(expected === null ? 0 : 1)
    if (expected !== null) expect(faults[0]).toMatch(expected)
  })
