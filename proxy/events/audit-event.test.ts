import { expect, test } from 'vitest'
import { narrowest } from '../../waf/evidence/exclusion.ts'
import { auditEvent } from './audit-event.ts'

/** As libmodsecurity 3 writes it. */
const record = {
  transaction: {
    client_ip: '192.0.2.1',
    time_stamp: 'Sat Nov 21 02:29:44 2026',
    unique_id: '169',
    request: { method: 'GET', http_version: 1.1, uri: '/a%20b?q=x', headers: {} },
    response: { http_code: 403, headers: {} },
    messages: [
      {
        message: 'SQL Injection',
        details: {
          match:
            "Matched \"Operator `Rx' with parameter `(?i)x' " +
            "against variable `ARGS:q' (Value: `x' )",
          ruleId: '942100',
          file: '/crs/rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf',
          lineNumber: '46',
          severity: '2',
          tags: ['attack-sqli'],
        },
      },
      {
        message: 'Too much',
        details: {
          match:
            "Matched \"Operator `Ge' with parameter `5' against variable " +
            "`TX:BLOCKING_INBOUND_ANOMALY_SCORE' (Value: `5' )",
          ruleId: '949110',
          file: '/crs/rules/REQUEST-949-BLOCKING-EVALUATION.conf',
          severity: '0',
        },
      },
    ],
  },
}

test('a record of ModSecurity gives the exclusion, with points by severity', () => {
  const event = auditEvent(JSON.stringify(record), '169')
  expect(event?.fields).toMatchObject({ 'url.path': '/a%20b', 'http.response.status_code': 403 })
  const evidence = event?.evidence ?? null
  if (evidence === null) throw new Error('there is evidence')
  expect(narrowest(evidence)).toMatchObject({
    method: 'GET',
    filename: '/a b',
    rules: [{ ruleId: 942_100, targets: [{ variable: 'ARGS', name: 'q' }] }],
  })
})

test('our own record names the rule that stopped it', () => {
  const own = { ...record, edge: { verdict: 'deny', rule_id: 942_100, mode: 'block', route: 'r' } }
  const event = auditEvent(JSON.stringify(own), '169')
  expect(event?.evidence?.matches[0]).toMatchObject({ ruleId: 942_100, interruption: 'deny' })
})

const others = [
  ['another request', JSON.stringify(record), '170'],
  ['half a line', JSON.stringify(record).slice(0, 300), '169'],
  ['the id elsewhere', JSON.stringify({ transaction: { unique_id: '1', uri: '169' } }), '169'],
  ['no object', '169', '169'],
] as const

for (const [what, line, requestId] of others) {
  test(`${what} is not it`, () => expect(auditEvent(line, requestId)).toBe(null))
}
