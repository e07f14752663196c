import { expect, test } from 'vitest'
import { blocking, evidence, match, value } from '../../waf/evidence/evidence.fixture.ts'
import type { ValueEvidence } from '../../waf/evidence/evidence.ts'
import { entry } from '../events/event.fixture.ts'
import { eventJson, readEvent } from '../events/event-json.ts'
import { explanation } from './explain-text.ts'

function told(values: readonly ValueEvidence[], colors = false): string {
  const links = match().links.map((link) => ({ ...link, values }))
  const json = eventJson(entry, evidence([match({ links }), blocking]), 65_536)
  return explanation(readEvent(json), { colors }).join('\n')
}

test('a block is told from the rule that stopped it to the bytes', () => {
  expect(told([value()])).toBe(`GET /search → 403 (deny)
request r, 1970-01-01T00:00:01.000Z, client 192.0.2.1, HTTP/2, host example.org, route shop

Stopped by 949110 "Inbound Anomaly Score Exceeded" in phase 2
  rules/blocking.conf:7
  5 points from the rules below; the threshold is 5

  +5 = 5  942100  SQL Injection (critical, paranoia level 1)
      rules/sqli.conf:7
      ARGS:q  @DetectSQLi
        as received       1' OR 1=1
        t:lowercase       1' or 1=1
        found             or
      sets tx.inbound_anomaly_score_pl1 0 → 5`)
})

test('on a terminal what matched is highlighted in every text', () => {
  const text = told([value()], true)
  expect(text).toContain("1' \u001b[7mOR\u001b[27m 1=1")
  expect(text).toContain("1' \u001b[7mor\u001b[27m 1=1")
})

test('nothing that a client sent reaches the terminal raw', () => {
  const before = { text: '\u001b[2J\u00e2\u0080\u00ae\u009b\u00ff', offset: 0, length: 9 }
  const text = told([value({ before, steps: [], span: null, captures: [] })])
  expect(text).toContain(String.raw`as received       \x1b[2J\u{202e}\x9b\xff`)
})

test('texts that were cut, unchanged or secret say so', () => {
  const before = { text: 'x'.repeat(5), offset: 10, length: 100 }
  const steps = [{ transformation: 'trim', after: null }]
  const cut = told([value({ before, steps, span: null, captures: [] })])
  expect(cut).toContain('as received       …xxxxx… (100 bytes)')
  expect(cut).toContain('unchanged by      trim')
  expect(told([value({ redacted: true })])).toContain('as received       (secret, 9 bytes)')
})

test('an event without rules says by what it ended', () => {
  const json = eventJson({ ...entry, waf: null, error: 'NO_ROUTE' }, null, 1_000)
  expect(explanation(readEvent(json), { colors: false }).join('\n')).toContain('NO_ROUTE')
})
