import { expect, test } from 'vitest'

import { auditRecord, isAuditable } from './audit.ts'
import { Redaction } from './evidence/redact.ts'
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
          'X-Odd': '\\xff"',
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
            data: 'x\u0000\\xff',
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
  expect(line).not.toContain('\n')
})

test('our own block is audited even when its rule says noauditlog', () => {
  expect(isAuditable(blocked(), { status: 403 })).toBe(true)
})

test('SecAuditLogRelevantStatus adds exchanges that no rule marked', () => {
  const { program, scanner } = fixture([], {}, { auditLogRelevantStatus: '^(?:5|4(?!04))' })
  const transaction = new Transaction(prepare(program), scanner, { facts, mode: 'block' })
  const audited = [200, 404, 403, 502].filter((status) => isAuditable(transaction, { status }))
  expect(audited).toEqual([403, 502])
  transaction.auditEngine = 'off'
  expect(isAuditable(transaction, { status: 502 })).toBe(false)
})

const bodies: Record<string, string> = {
  request: 'q=\u00c3\u00a9&password=hunter2&n=\u00ff',
  response: '<p>'.repeat(50),
}

function parts(letters: string): { request: object; response: object; transaction: object } {
  const transaction = blocked()
  transaction.auditLogParts = letters
  const witness = {
    trace: () => null,
    traceText: () => null,
    body: (_handle: number, of: { readonly response: boolean; readonly bytesMax: number }) => {
      const text = bodies[of.response ? 'response' : 'request'] ?? ''
      return { text: text.slice(0, of.bytesMax), offset: 0, length: text.length }
    },
  }
  const options = { witness, redaction: new Redaction(), bodyBytesMax: 100 }
  const line = auditRecord(transaction, { status: 403 }, options)
  const record: { transaction: { request: object; response: object } } = JSON.parse(line)
  return { ...record.transaction, transaction: record.transaction }
}

const keys = [
  ['AZ', 'request', ['method', 'http_version', 'hostname', 'uri']],
  ['ABZ', 'request', ['method', 'http_version', 'hostname', 'uri', 'headers']],
  ['ACZ', 'request', ['method', 'http_version', 'hostname', 'uri', 'body']],
  ['AIZ', 'request', ['method', 'http_version', 'hostname', 'uri', 'body']],
  ['AFZ', 'response', ['http_code', 'headers']],
  ['AEZ', 'response', ['body', 'body_bytes', 'http_code']],
] as const

for (const [letters, part, expected] of keys) {
  test(`parts ${letters} give the ${part} ${expected.join(', ')}`, () => {
    expect(Object.keys(parts(letters)[part])).toEqual(expected)
  })
}

test('parts H and K give the messages and the rules; without them there are none', () => {
  const bare = Object.keys(parts('AZ').transaction)
  expect(bare).not.toContain('messages')
  const full = parts('AHKZ').transaction
  expect(full).toMatchObject({ messages: [{}], matched_rules: [{ ruleId: '949110', phase: 2 }] })
})

test('a body is well-formed UTF-8, without secrets, and cut', () => {
  expect(parts('ACZ').request).toMatchObject({ body: 'q=\u00e9&password=*******&n=\\xff' })
  expect(parts('AEZ').response).toMatchObject({ body: '<p>'.repeat(34).slice(0, 100) })
})
