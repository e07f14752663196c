import { expect, test } from 'vitest'
import { casesOf } from './cases.ts'
import { overridesOf } from './overrides.ts'

const [one] = casesOf(
  `rule_id: 920100
tests:
  - test_id: 4
    stages:
      - { input: { uri: / }, output: { log: { expect_ids: [920100] } } }
      - { input: { uri: / }, output: { log: { expect_ids: [920100] } } }
`,
  'a.yaml',
)

function statuses(text: string): (number | null)[] {
  if (one === undefined) throw new Error('no case')
  return overridesOf(text)
    .apply(one)
    .stages.map(({ expect: expected }) => expected.status)
}

const head = 'version: v0.1.0\nmeta: { engine: edge }\ntest_overrides:\n'

test.each([
  [
    'all tests of a rule',
    '  - { rule_id: 920100, reason: r, output: { status: 400 } }',
    [400, 400],
  ],
  [
    'one test',
    '  - { rule_id: 920100, test_ids: [4], reason: r, output: { status: 400 } }',
    [400, 400],
  ],
  [
    'one stage',
    '  - { rule_id: 920100, stage_ids: [1], reason: r, output: { status: 400 } }',
    [null, 400],
  ],
  [
    'another test',
    '  - { rule_id: 920100, test_ids: [5], reason: r, output: { status: 400 } }',
    [null, null],
  ],
  ['another rule', '  - { rule_id: 1, reason: r, output: { status: 400 } }', [null, null]],
])('an override of %s replaces the expectation', (_, entry, expected) => {
  expect(statuses(`${head}${entry}\n`)).toEqual(expected)
})

test('the whole output is replaced, not a part of it', () => {
  if (one === undefined) throw new Error('no case')
  const entry = '  - { rule_id: 920100, reason: r, retry_once: true, output: { status: 400 } }'
  const [first] = overridesOf(`${head}${entry}`).apply(one).stages
  expect(first?.expect).toMatchObject({ expectIds: [], status: 400, retryOnce: true })
})

test('cases may be ignored by a pattern, with the reason', () => {
  if (one === undefined) throw new Error('no case')
  const overrides = overridesOf(`ignore: { '^920100-4$': no such server }`)
  expect(overrides.ignored(one)).toBe('no such server')
  expect(overrides.count).toBe(1)
  expect(overridesOf(`testoverride: { ignore: { '^9': x } }`).ignored(one)).toBe('x')
  expect(overridesOf(`ignore: { '^93': x }`).ignored(one)).toBe(null)
})

test('an entry without a reason is refused', () => {
  expect(() => overridesOf(`${head}  - { rule_id: 1, output: { status: 400 } }`)).toThrow()
})
