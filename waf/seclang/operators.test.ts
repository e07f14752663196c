import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hasMacros, parseOperator } from './operators.ts'
import { phrases } from './phrases.ts'

const cases = [
  ['@rx ^a b$', 'rx', false, '^a b$'],
  ['^plain', 'rx', false, '^plain'],
  ['!^plain', 'rx', true, '^plain'],
  ['!@pm a b', 'pm', true, 'a b'],
  ['! @streq x', 'streq', true, 'x'],
  ['@eq  5 ', 'eq', false, '5'],
  ['@beginsWith %{request_headers.host}', 'beginswith', false, '%{request_headers.host}'],
  ['@detectSQLi', 'detectsqli', false, ''],
  ['@streq ', 'streq', false, ''],
  ['@rx', 'rx', false, ''],
  ['user@example', 'rx', false, 'user@example'],
  ['@contains  or ', 'contains', false, 'or '],
] as const

for (const [written, operator, negated, argument] of cases)
  test(`"${written}" is ${negated ? 'not ' : ''}@${operator} of "${argument}"`, () =>
    expect(parseOperator(written, '/x.conf', expect.unreachable)).toMatchObject({
      operator,
      negated,
      argument,
    }))

const faulty = [
  ['@foo x', /unknown operator @foo/],
  ['@inspectFile /x', /not supported/],
  ['@eq', /has no argument/],
  ['@pm ', /has no argument/],
  ['@pmFromFile missing.data', /cannot read its file/],
  ['@pmFromFile https://a/b', /no address/],
] as const

for (const [written, expected] of faulty)
  test(`"${written}" is a fault`, () => {
    const faults: string[] = []
    const report = (message: string): void => void faults.push(message)
    expect(parseOperator(written, '/nowhere/x.conf', report)).toBe(null)
    expect(faults.join()).toMatch(expected)
  })

test('entries come from the file beside the rule file, blanks kept, comments dropped', () => {
  const folder = mkdtempSync(join(tmpdir(), 'edge-'))
  writeFileSync(join(folder, 'words.data'), '# c\nfoo\r\n\n  \nCall to \n #x\nb\xe9', 'latin1')
  const use = parseOperator('@pmf words.data', join(folder, 'x.conf'), expect.unreachable)
  expect(use).toMatchObject({ operator: 'pmfromfile', entries: ['foo', 'Call to ', 'b\xe9'] })
})

const lists = [
  ['a  b', ['a', 'b']],
  ['?>', ['?>']],
  ['|3c 3F|php x', ['<?php', 'x']],
  ['a|b|c', ['a|b|c']],
] as const

for (const [argument, expected] of lists)
  test(`@pm ${argument} holds ${expected.length} phrases`, () =>
    expect(phrases(argument)).toEqual(expected))

const macros = [
  ['lt', '%{tx.level}', true],
  ['within', 'a %{tx.a}', true],
  ['rx', '%{2}', false],
  ['pm', '%{tx.a}', false],
  ['rx', '100%', false],
] as const

for (const [operator, argument, expected] of macros)
  test(`@${operator} ${argument} ${expected ? 'has' : 'has no'} macros`, () =>
    expect(hasMacros(operator, argument)).toBe(expected))
