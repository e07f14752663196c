import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Rule, Ruleset } from '../rule.ts'
import { SecLangError } from './faults.ts'
import { parseSecLang } from './parser.ts'

function parse(text: string): Ruleset {
  return parseSecLang([{ file: 'test.conf', text }])
}

function rule(text: string): Rule {
  const found = parse(text).items.find((item) => item.kind === 'rule')
  if (found?.kind !== 'rule') throw new Error('no rule')
  return found
}

function faultsOf(text: string): string[] {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof SecLangError) {
      return error.faults.map((fault) => `${fault.line} ${fault.message}`)
    }
    throw error
  }
  return []
}

const rules: readonly (readonly [string, Partial<Rule>])[] = [
  [
    'SecRule ARGS x "id:1"',
    { id: 1, phase: 2, disruptive: 'pass', status: 403, log: true, auditLog: true, severity: null },
  ],
  ['SecRule ARGS x "id:1,phase:request"', { phase: 2 }],
  ['SecRule ARGS x "id:1,phase:logging"', { phase: 5 }],
  ['SecRule ARGS x "id:1,nolog"', { log: false, auditLog: false }],
  ['SecRule ARGS x "id:1,nolog,auditlog"', { log: false, auditLog: true }],
  ['SecRule ARGS x "id:1,log,noauditlog"', { log: true, auditLog: false }],
  ['SecRule ARGS x "id:1,block"', { disruptive: 'pass' }],
  ['SecRule ARGS x "id:1,deny,status:406"', { disruptive: 'deny', status: 406 }],
  [
    'SecRule ARGS x "id:1,redirect:http://a/"',
    { disruptive: 'redirect', status: 302, disruptiveArgument: 'http://a/' },
  ],
  ['SecRule ARGS x "id:1,allow:Phase"', { disruptive: 'allow', disruptiveArgument: 'phase' }],
  [
    "SecRule ARGS x \"id:1,severity:CRITICAL,tag:'a',tag:'b',msg:'m',ver:'v',rev:'2'\"",
    { severity: 2, tags: ['a', 'b'], msg: 'm', ver: 'v', rev: '2' },
  ],
  ['SecAction "id:1,skip:2"', { skip: 2 }],
  [
    'SecDefaultAction "phase:2,nolog,deny,status:451"\nSecRule ARGS x "id:1,block"',
    { disruptive: 'deny', status: 451, log: false },
  ],
  ['SecRule ARGS x "id:1,block"\nSecDefaultAction "phase:2,deny"', { disruptive: 'pass' }],
  ['SecDefaultAction "phase:1,deny"\nSecRule ARGS x "id:1,block,phase:2"', { disruptive: 'pass' }],
]

for (const [text, expected] of rules) test(text, () => expect(rule(text)).toMatchObject(expected))

test('default transformations come first, and t:none drops them', () => {
  const text = `SecDefaultAction "phase:2,pass,t:urlDecode"
    SecRule ARGS x "id:1,t:lowercase"
    SecRule ARGS x "id:2,t:none,t:normalisePath"`
  const chains = parse(text).items.map((item) => item.kind === 'rule' && item.links[0])
  expect(chains.map((link) => link && link.transformations)).toEqual([
    ['urldecode', 'lowercase'],
    ['normalizepath'],
  ])
})

test('a chain is one rule with its own actions in each link', () => {
  const chained = rule(`SecRule ARGS "@rx a" "id:1,deny,chain,setvar:tx.a=1"
    SecRule TX:a "!@eq 1" "chain,capture"
    SecRule MATCHED_VAR "@pm b c" "t:lowercase,setvar:tx.b=1,logdata:'x'"`)
  expect(chained.links).toMatchObject([
    { operator: 'rx', actions: [{ name: 'setvar', argument: 'tx.a=1' }] },
    { operator: 'eq', negated: true, capture: true, actions: [], source: { line: 2 } },
    {
      operator: 'pm',
      entries: ['b', 'c'],
      transformations: ['lowercase'],
      actions: [
        { name: 'setvar', argument: 'tx.b=1' },
        { name: 'logdata', argument: 'x' },
      ],
    },
  ])
  expect(chained.logdata).toBe('x')
})

test('settings are read', () => {
  const { settings } = parse(`SecRuleEngine DetectionOnly
    secrequestbodyaccess off
    SecResponseBodyAccess On
    SecResponseBodyMimeType text/html application/JSON
    SecRequestBodyLimit 1000
    SecRequestBodyLimitAction ProcessPartial
    SecArgumentSeparator ;
    SecAuditEngine Off
    SecAuditLogParts abijdefhz
    SecAuditLogRelevantStatus "^5"
    SecComponentSignature "A/1"
    SecComponentSignature "B/2"`)
  expect(settings).toMatchObject({
    ruleEngine: 'detection-only',
    requestBodyAccess: false,
    responseBodyAccess: true,
    responseBodyMimeTypes: ['text/html', 'application/json'],
    requestBodyLimitBytes: 1000,
    requestBodyLimitAction: 'process-partial',
    argumentSeparator: ';',
    auditEngine: 'off',
    auditLogParts: 'ABDEFHIJZ',
    auditLogRelevantStatus: '^5',
    componentSignatures: ['A/1', 'B/2'],
  })
})

const faulty = [
  ['SecRule ARGS x', ['1 the rule has no id']],
  ['SecAction "id:1"\n\nSecAction "id:1"', ['3 id 1 is taken by test.conf:1']],
  ['SecFoo On', ['1 unknown directive "SecFoo"']],
  ['SecRuleScript a.lua', ['1 SecRuleScript is not supported']],
  ['SecHashEngine On', ['1 SecHashEngine On is not supported']],
  ['SecRuleEngine', ['1 SecRuleEngine takes 1 arguments, not 0']],
  ['SecRuleEngine Maybe', ['1 "Maybe" is no value']],
  ['SecRequestBodyLimit 0', ['1 "0" is not a number from 1']],
  ['SecArgumentSeparator ab', ['1 "ab" is not one character']],
  ['SecCookieFormat 1', ['1 SecCookieFormat 1 is not supported']],
  ['SecAction "id:1,chain"', ['1 chain without a next rule']],
  ['SecAction "id:1,chain"\nSecMarker A', ['1 chain without a next rule']],
  ['SecAction "id:1,chain"\nSecRule ARGS x "id:2"', ['2 id in a chained rule']],
  ['SecAction "id:1,chain"\nSecRule ARGS x "deny"', ['2 deny in a chained rule']],
  ['SecAction "id:1,skipAfter:A"', ['1 skipAfter:A: no such SecMarker or rule follows']],
  [
    'SecMarker A\nSecAction "id:1,skipAfter:A"',
    ['2 skipAfter:A: no such SecMarker or rule follows'],
  ],
  ['SecDefaultAction "pass"', ['1 SecDefaultAction names no phase']],
  ['SecDefaultAction "phase:1,block"', ['1 SecDefaultAction says not what block does']],
  ['SecDefaultAction "phase:1,pass,id:1"', ['1 SecDefaultAction cannot hold id']],
  ['Include none.conf', ['1 no file none.conf']],
  ['IncludeOptional none.conf', []],
  ['IncludeOptional none/*.conf', []],
  [
    'SecRule FOO "@bar x" "id:x,t:baz"\nSecRule ARGS "x\nSecRule ARGS "(" "id:9"',
    [
      '1 unknown variable "FOO"',
      '1 unknown operator @bar',
      '1 id "x" is not a positive number',
      '1 unknown transformation "baz"',
      '2 SecRule: a quoted argument does not end',
    ],
  ],
] as const

for (const [text, expected] of faulty)
  test(`${JSON.stringify(text)} has ${expected.length} faults`, () =>
    expect(faultsOf(text)).toEqual(expected))

test('every fault says how to mend it', () => {
  expect(() => parse('SecRule FOO x "id:1"')).toThrow(
    /^test\.conf:1:9: unknown variable "FOO"; see/,
  )
})

test('a fault has the line and column of the text at fault', () => {
  const text = '\n SecRule ARGS|FOO \\\n  "@bar x" \\\n  "id:1,\\\n  t:none,t:baz"'
  expect(() => parse(text)).toThrow(/^test\.conf:2:15: [^]*:3:4: unknown op[^]*:5:10: unknown tr/)
})

test('a file that is not there is a fault', () => {
  expect(() => parseSecLang([{ file: '/nowhere/x.conf' }])).toThrow(/x\.conf:1:1: cannot be read/)
})

test('include reads files in name order, and a circle is a fault', () => {
  const folder = mkdtempSync(join(tmpdir(), 'edge-'))
  writeFileSync(join(folder, 'b.conf'), 'SecMarker B')
  writeFileSync(join(folder, 'a.conf'), 'SecMarker A')
  writeFileSync(join(folder, 'main.txt'), 'Include *.conf')
  const { items, files } = parseSecLang([{ file: join(folder, 'main.txt') }])
  expect(items.map((item) => item.kind === 'marker' && item.name)).toEqual(['A', 'B'])
  expect(files.map((file) => file.slice(folder.length))).toEqual([
    '/main.txt',
    '/a.conf',
    '/b.conf',
  ])
  writeFileSync(join(folder, 'b.conf'), 'Include b.conf')
  expect(() => parseSecLang([{ file: join(folder, 'main.txt') }])).toThrow(/includes itself/)
})

test('what has no effect is noted', () => {
  const { notices } = parse(`SecUploadDir /tmp
    SecRule REMOTE_ADDR "@geoLookup" "id:1"
    SecRuleRemoveById 5`)
  expect(notices.map(({ line, message }) => `${line} ${message}`)).toEqual([
    '1 SecUploadDir has no effect',
    '3 SecRuleRemoveById selects no rule',
    '2 @geolookup never matches: there is no database of places',
  ])
})
