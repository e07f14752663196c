import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ConfigError } from '../config/faults.ts'
import { casesOf, readCases } from './cases.ts'

const folder = mkdtempSync(join(tmpdir(), 'edge-cases-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a case has its stages, with the defaults of go-ftw filled in', () => {
  const [one, ...rest] = casesOf(
    `meta: { author: us }
rule_id: 942100
tests:
  - test_id: 3
    desc: two stages
    stages:
      - input: { dest_addr: 127.0.0.1, port: 80, headers: { Host: a, X-Count: 5 }, uri: /x }
        output: { log: { expect_ids: [942100] } }
      - input: { method: POST, data: a=b, autocomplete_headers: false, version: HTTP/1.0 }
        output: { status: 400, retry_once: true, log: { no_match_regex: '(?i)boom' } }
`,
    'a.yaml',
  )
  expect(rest).toEqual([])
  expect(one).toMatchObject({ id: '942100-3', file: 'a.yaml' })
  expect(one?.stages[0]?.request).toMatchObject({
    method: 'GET',
    uri: '/x',
    version: 'HTTP/1.1',
    autocompleteHeaders: true,
    headers: [
      ['Host', 'a'],
      ['X-Count', '5'],
    ],
  })
  const second = one?.stages[1]
  expect(second?.request).toMatchObject({ data: 'a=b', autocompleteHeaders: false })
  expect(second?.expect).toMatchObject({ status: 400, retryOnce: true, noMatchRegex: /boom/i })
})

test('a whole request may be given in Base64', () => {
  const encoded = Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('base64')
  const [one] = casesOf(
    `rule_id: 1
tests: [{test_id: 1, stages: [{input: {encoded_request: ${encoded}}, output: {}}]}]`,
    'a.yaml',
  )
  expect(one?.stages[0]?.request.raw?.toString()).toBe('GET / HTTP/1.1\r\n\r\n')
})

test('the spelling of before go-ftw 1.0 is read, and what is disabled is left out', () => {
  const old = `meta: { enabled: true }
tests:
  - test_title: 920100-7
    stages:
      - stage:
          input: { uri: /, stop_magic: true, data: [a, b] }
          output: { log_contains: 'id "920100"' }
`
  const [one] = casesOf(old, 'old.yaml')
  expect(one).toMatchObject({ id: '920100-7', ruleId: 920_100, testId: 7 })
  expect(one?.stages[0]?.expect.matchRegex).toEqual(/id "920100"/)
  expect(one?.stages[0]?.request).toMatchObject({ autocompleteHeaders: false, data: 'a\r\nb' })
  expect(casesOf(old.replace('true', 'false'), 'old.yaml')).toEqual([])
})

test('files are read in the order of their names; every fault is told', () => {
  const one = (id: number): string =>
    `rule_id: ${id}\ntests: [{test_id: 1, stages: [{input: {uri: /}, output: {}}]}]`
  writeFileSync(join(folder, 'b.yaml'), one(2))
  writeFileSync(join(folder, 'a.yml'), one(1))
  expect(readCases([folder]).map(({ id }) => id)).toEqual(['1-1', '2-1'])
  writeFileSync(join(folder, 'c.yaml'), one(3).replace('uri', 'url'))
  expect(() => readCases([folder, join(folder, 'none.yaml')])).toThrow(ConfigError)
  try {
    readCases([folder, join(folder, 'none.yaml')])
  } catch (error) {
    const faults = error instanceof ConfigError ? error.faults : []
    expect(faults.map(({ where }) => where)).toEqual([
      join(folder, 'c.yaml'),
      join(folder, 'none.yaml'),
    ])
  }
})
