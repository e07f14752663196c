import { expect, test } from 'vitest'
import { type CaseOutput, expectationOf } from './cases.ts'
import { judge, loggedIds } from './judge.ts'

const log = 'ModSecurity: Warning. [id "942100"] [msg "x"]\n{"id":930120,"ruleId":"941100"}'

test('ids are read from both kinds of log', () => {
  expect([...loggedIds(log)]).toEqual([942_100, 930_120, 941_100])
})

const cases: readonly (readonly [CaseOutput, number, string | null, string | null])[] = [
  [{ log: { expect_ids: [942_100] } }, 200, log, null],
  [{ log: { expect_ids: [942_100, 1] } }, 200, log, 'rule 1'],
  [{ log: { no_expect_ids: [1] } }, 200, log, null],
  [{ log: { no_expect_ids: [930_120] } }, 200, log, 'not rule 930120'],
  [{ log: { match_regex: 'msg "x"' } }, 200, log, null],
  [{ log: { match_regex: 'msg "y"' } }, 200, log, 'a log that matches msg "y"'],
  [{ log: { no_match_regex: '(?i)WARNING' } }, 200, log, 'a log without WARNING'],
  [{ status: 400 }, 400, '', null],
  [{ status: 400 }, 200, '', 'status 400'],
  [{ expect_error: true }, 0, '', null],
  [{ expect_error: true }, 200, '', 'an error'],
  // Without a log the status says it.
  [{ log: { expect_ids: [942_100] } }, 403, null, null],
  [{ log: { expect_ids: [942_100] } }, 200, null, 'status 403'],
  [{ log: { no_expect_ids: [942_100] } }, 404, null, null],
  [{ log: { no_expect_ids: [942_100] } }, 403, null, 'status 200, 404, 405'],
  [{ status: 400, log: { expect_ids: [1] } }, 400, null, null],
]
for (const [output, status, lines, expected] of cases) {
  const told = lines === null ? 'no log' : 'a log'
  const name = `${JSON.stringify(output)} with status ${status} and ${told}`
  test(`${name}: ${expected ?? 'as expected'}`, () => {
    const difference = judge(expectationOf(output), { status, log: lines })
    expect(difference?.expected ?? null).toBe(expected)
  })
}
