import { expect, test } from 'vitest'

import { logLine, reference } from './log-line.ts'
import { transformationName } from './matched-rule.ts'
import type { MatchedRule } from './matched-rule.ts'
import { printable } from './printable.ts'
import { loadAddon } from '../native/load.ts'
import { prepare } from './prepared.ts'
import { facts, fixture } from './testing/fixture.ts'

function ruleOf(): MatchedRule['rule'] {
  const { program } = fixture(
    [
      {
        id: 942_100,
        links: [['ARGS', '@rx x']],
        severity: 2,
        ver: 'OWASP_CRS/4.28.0',
        source: { file: '/rules/a.conf', line: 12 },
      },
    ],
    {},
  )
  const rule = prepare(program).phases[2]?.rules[0]?.rule
  if (rule === undefined) throw new Error('the fixture has a rule')
  return rule
}

const match: MatchedRule = {
  rule: ruleOf(),
  message: 'SQL "Injection"',
  data: 'Matched Data: \u00e9\n found',
  tags: ['OWASP_CRS', 'attack-sqli'],
  value: { operator: 'Rx', parameter: '(?i)x', variable: 'ARGS:id', value: "1' OR '1'='1" },
  interruption: null,
  notes: null,
}

const tail =
  '[file "/rules/a.conf"] [line "12"] [id "942100"] [rev ""] ' +
  '[msg "SQL \\x22Injection\\x22"] [data "Matched Data: \\xe9\\x0a found"] [severity "2"] ' +
  '[ver "OWASP_CRS/4.28.0"] [maturity "0"] [accuracy "0"] [tag "OWASP_CRS"] ' +
  '[tag "attack-sqli"] [hostname "example.org"] [uri "/path"] [unique_id "abc-123"] [ref ""]'

test('a warning has ModSecurity v3 form', () => {
  expect(logLine(match, facts)).toBe(
    '[client 192.0.2.1] ModSecurity: Warning. ' +
      "Matched \"Operator `Rx' with parameter `(?i)x' against variable `ARGS:id' " +
      `(Value: \`1' OR '1'='1' ) ${tail}`,
  )
})

test('the rule that stopped the exchange says so', () => {
  const interruption = { action: 'deny', status: 403, ruleId: 942_100, phase: 2 } as const
  expect(logLine({ ...match, interruption, value: null }, facts)).toBe(
    '[client 192.0.2.1] ModSecurity: Access denied with code 403 (phase 2). ' +
      `Unconditional match in SecAction. ${tail}`,
  )
})

test('a value cannot write lines or fields of its own, nor grow the line', () => {
  const value = {
    operator: 'Rx',
    parameter: 'x',
    variable: 'ARGS:"] [id "1',
    value: '\n"] [id "2"]',
  }
  const line = logLine(
    { ...match, value, data: '\u0000'.repeat(100_000), message: 'm'.repeat(10_000) },
    { ...facts, uri: `/${'"\r\n'.repeat(10_000)}` },
  )
  expect(line).toMatch(/^[\x20-\x7e]+$/)
  expect(line.match(/\[id "/g)).toHaveLength(1)
  expect(line.length).toBeLessThan(4000)
})

const texts = [
  ['plain text', 'plain text'],
  ['a"b\\c', 'a\\x22b\\x5cc'],
  ['\u0000\u001b[31m\u007f', '\\x00\\x1b[31m\\x7f'],
  ['\u00ff', '\\xff'],
  ['\u20ac', '\\u20ac'],
  ['0123456789abc', '0123456789'],
] as const

for (const [text, expected] of texts) {
  test(`${JSON.stringify(text)} is printed as ${expected}`, () => {
    expect(printable(text, 10)).toBe(expected.slice(0, 40))
  })
}

test('the reference tells each group that has a place, and the transformations', () => {
  const [head] = ruleOf().links
  if (head === undefined) throw new Error('the rule has a link')
  const link = { ...head, transformations: ['urldecodeuni', 'lowercase'] }
  const captures = ['select', 'sel', null, '', 'elsewhere']
  const values = [{ variable: 'ARGS', name: 'q', value: 'x select', captures }]
  const links = [{ link, argument: '', values, valuesLeftOut: 0 }]
  const notes = { links, names: [], before: [], after: [] }
  // As libmodsecurity 3.0.9 writes it, without its `v9,10`.
  expect(reference({ ...match, notes })).toBe('o2,6o2,3t:urlDecodeUni,t:lowercase')
  expect(reference(match)).toBe('')
})

test('every transformation that the addon has is spelled as ModSecurity does', () => {
  const names = loadAddon().transformationNames()
  expect(names.length).toBeGreaterThan(35)
  for (const name of names) expect(transformationName(name).toLowerCase()).toBe(name)
  expect(transformationName('utf8tounicode')).toBe('utf8toUnicode')
  const oneWord = names.filter((name) => transformationName(name) === name)
  expect(oneWord.toSorted()).toEqual(
    ['length', 'lowercase', 'md5', 'none', 'sha1', 'trim', 'uppercase'].toSorted(),
  )
})
