import { expect, test } from 'vitest'
import { SecLangError } from '../seclang/faults.ts'
import { lint, type LintReport } from './lint.ts'
import { boundedBecause } from './patterns.ts'

function linted(text: string, compile: () => void = () => undefined): LintReport {
  return lint({ inputs: [{ file: 'a.conf', text }], compile })
}

function shown(report: LintReport): string[] {
  return report.findings.map(
    ({ level, line, column, message }) => `${line}:${column} ${level} ${message}`,
  )
}

const cases: readonly (readonly [text: string, ...findings: string[]])[] = [
  ['SecRule ARGS "@rx a" "id:1,phase:2,deny"'],
  ['SecRule ARGS "@foo a" "id:1"', '1:15 error unknown operator @foo'],
  ['\n  SecUploadDir /tmp', '2:3 notice SecUploadDir has no effect'],
  ['SecRuleRemoveById 7', '1:1 warning SecRuleRemoveById selects no rule'],
  ['SecRule ARGS "@noMatch" "id:1"', '1:1 warning rule 1: @nomatch never matches'],
  ['SecRule ARGS "!@noMatch" "id:1"'],
  ['SecRule ARGS|!ARGS "@rx a" "id:1"', '1:1 warning rule 1: its exclusions leave no variable'],
  ['SecRule ARGS:a|!ARGS:A "@rx a" "id:1"', '1:1 warning rule 1: its exclusions leave no variable'],
  ['SecRule ARGS|!ARGS:a "@rx a" "id:1"'],
  ['SecRule ARGS|!ARGS:/a/ "@rx a" "id:1"'],
  [
    'SecRule RESPONSE_STATUS "@eq 5" "id:1,phase:2"',
    '1:1 warning rule 1: RESPONSE_STATUS holds nothing in phase 2',
  ],
  [
    'SecRule ARGS_POST|FILES "@rx a" "id:1,phase:1"',
    '1:1 warning rule 1: ARGS_POST holds nothing in phase 1',
  ],
  ['SecRule ARGS_POST|ARGS_GET "@rx a" "id:1,phase:1"'],
  ['SecRule REQBODY_PROCESSOR "!@rx a" "id:1,phase:1"'],
  ['SecRule &ARGS_POST "@eq 0" "id:1,phase:1"'],
  [
    'SecRule ARGS "@streq Evil" "id:1,t:lowercase"',
    '1:1 warning rule 1: @streq Evil never matches behind t:lowercase',
  ],
  ['SecRule ARGS "@streq Evil" "id:1,t:lowercase,t:base64Encode"'],
  ['SecRule ARGS "@streq %{tx.A}" "id:1,t:lowercase,setvar:tx.a=1"'],
  ['SecRule ARGS "@eq five" "id:1"', '1:1 warning rule 1: @eq five compares with 0'],
  [
    'SecAction "id:1,phase:5,deny"',
    '1:1 warning rule 1: deny does nothing in phase 5, the answer is sent',
  ],
  ['SecRule TX:scroe "@ge 5" "id:1"', '1:1 warning TX:scroe is read here and set nowhere'],
  ['SecAction "id:1,setvar:tx.Score=1"\nSecRule TX:sCORE "@ge 5" "id:2"'],
  ['SecAction "id:1,setvar:tx.a_%{ARGS.x}=1"\nSecRule TX:a_b "@ge 5" "id:2"'],
  ['SecRule &TX:own "@eq 1" "id:1,chain"\nSecRule TX:own "@eq 1"'],
  ['SecRule ARGS "@rx (a)" "id:1,capture,chain"\nSecRule TX:1 "@streq a"'],
  ['SecRule ARGS "@streq %{tx.none}" "id:1"', '1:1 warning TX:none is read here and set nowhere'],
  [
    'SecRule ARGS "@rx a(?!b)" "id:1"',
    '1:1 notice rule 1: the pattern has look-around, so the bounded engine runs it',
  ],
  [
    'SecResponseBodyAccess Off\nSecRule RESPONSE_BODY "@rx a" "id:1,phase:4"',
    '2:1 notice 1 rules read RESPONSE_BODY, and SecResponseBodyAccess is Off',
  ],
  ['SecResponseBodyAccess On\nSecRule RESPONSE_BODY "@rx a" "id:1,phase:4"'],
]

for (const [text, ...expected] of cases)
  test(`${text} has ${expected.length} findings`, () =>
    expect(shown(linted(text))).toEqual(expected))

test('what the operators refuse is an error at the rule', () => {
  const fault = { file: 'a.conf', line: 2, column: 1, message: 'no pattern', mend: 'mend it' }
  const report = linted('\nSecRule ARGS "(" "id:1"', () => {
    throw new SecLangError([fault])
  })
  expect(report.findings).toEqual([{ ...fault, level: 'error' }])
})

test('a file that is only read along is not judged', () => {
  const inputs = [
    { file: 'base.conf', text: 'SecUploadDir /tmp' },
    { file: 'own.conf', text: 'SecTmpDir /tmp' },
  ]
  const { findings, files } = lint({ inputs, silent: ['base.conf'], compile: () => undefined })
  expect(findings.map(({ file }) => file)).toEqual(['own.conf'])
  expect(files).toBe(2)
})

const patterns = [
  ['^a+b*?[(?=](?:c|d){2,3}$', null],
  ['(?i)a[]+]b', null],
  ['a(?=b)', 'look-around'],
  ['(?<!a)b', 'look-around'],
  ['(?<name>a)', null],
  ['(a)\\1', 'a back-reference'],
  ['\\\\1', null],
  ['[\\1]', null],
  ['a++', 'a possessive quantifier'],
  ['a{2}+', 'a possessive quantifier'],
  ['[a+]+', null],
  ['(?>a|b)', 'an atomic group'],
  ['(?P=x)', 'a back-reference'],
  ['(?R)', 'recursion'],
  ['(?(1)a)', 'a condition'],
] as const

for (const [pattern, expected] of patterns)
  test(`${pattern} needs ${expected ?? 'no'} bounded engine`, () =>
    expect(boundedBecause(pattern)).toBe(expected))
