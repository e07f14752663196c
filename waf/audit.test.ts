import { expect, test } from 'vitest'

import { auditRecord } from './audit.ts'
import { runPhase } from './evaluate.ts'
import { prepare } from './prepared.ts'
import { facts, fixture } from './testing/fixture.ts'
import { Transaction } from './transaction.ts'

function blocked(): Transaction {
  const { program, scanner } = fixture(
    [
      {
        id: 949_110,
        links: [['ARGS', '@rx x', 'setvar:tx.blocking_inbound_anomaly_score=5']],
        disruptive: 'deny',
        msg: 'Too much',
        logdata: '%{MATCHED_VAR}',
        severity: 2,
        tags: ['OWASP_CRS'],
        ver: 'OWASP_CRS/4.28.0',
        auditLog: false,
      },
    ],
    { 'ARGS:a': 'x\u0000\u00ff' },
  )
  const headers = [
    ['Host', 'example.org'],
    ['Cookie', 'session=secret'],
    ['Authorization', 'Bearer secret'],
    ['X-Odd', '\u00ff"'],
    ['x-two', '1'],
    ['x-two', '2'],
    ['__proto__', 'p'],
  ] as const
  const transaction = new Transaction(prepare(program), scanner, {
    facts: { ...facts, headers },
    mode: 'block',
  })
  runPhase(transaction, 2)
  transaction.response = { status: 403, headers: [['Set-Cookie', 'id=secret']] }
  return transaction
}

test('the record has ModSecurity v3 shape, our own object, and no secrets', () => {
  const line = auditRecord(blocked(), { status: 403 })
  const record: unknown = JSON.parse(line)
  expect(record).toMatchObject({
    transaction: {
      client_ip: '192.0.2.1',
      time_stamp: 'Sat Nov 21 02:29:44 2026',
      unique_id: 'abc-123',
      is_interrupted: true,
      request: {
        method: 'GET',
        http_version: 1.1,
        uri: '/path?id=1',
        headers: {
          Host: 'example.org',
          Cookie: '[redacted]',
          Authorization: '[redacted]',
          'X-Odd': '\\xff\\x22',
          'x-two': '1, 2',
        },
      },
      response: { http_code: 403, headers: { 'Set-Cookie': '[redacted]' } },
      producer: { secrules_engine: 'Enabled', components: ['OWASP_CRS/4.28.0'] },
      messages: [
        {
          message: 'Too much',
          details: {
            ruleId: '949110',
            file: 'test.conf',
            lineNumber: '949110',
            data: 'x\\x00\\xff',
            severity: '2',
            tags: ['OWASP_CRS'],
          },
        },
      ],
    },
    edge: {
      score: { inbound: 5, outbound: 0 },
      mode: 'block',
      route: 'default',
      verdict: 'deny',
      rule_id: 949_110,
    },
  })
  expect(line).not.toContain('secret"')
  expect(line).toMatch(/^[\x20-\x7e]+$/)
})

test('our own block is audited even when its rule says noauditlog', () => {
  expect(blocked().auditable).toBe(true)
})
