import { afterAll, expect, test } from 'vitest'
import { SecLangError } from '../seclang/faults.ts'
import { createEngine } from './engine.ts'
import type { OfflineRequest, OfflineResponse } from './engine.ts'

const text = `
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/html
SecRule REQUEST_HEADERS:X-Probe "@streq one" "id:1,phase:1,pass,setvar:tx.seen=%{MATCHED_VAR}"
SecRule ARGS:q "@contains attack" "id:2,phase:2,deny,status:406,msg:'%{ARGS.q}'"
SecRule REQUEST_BODY "@rx ^a=b" "id:3,phase:2,pass"
SecRule RESPONSE_HEADERS:X-Leak "@rx ." "id:4,phase:3,pass"
SecRule RESPONSE_BODY "@contains secret" "id:5,phase:4,deny,status:502"
SecRule RESPONSE_STATUS "@rx ^5" "id:6,phase:5,pass"
SecRule REQUEST_PROTOCOL "@streq HTTP/2.0" "id:7,phase:1,pass"
SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:8,phase:1,pass"
`
const engine = createEngine([{ file: 'test.conf', text }])
afterAll(() => engine.close())

const form = { 'content-type': 'application/x-www-form-urlencoded' }
const html: OfflineResponse = { status: 200, headers: [['Content-Type', 'text/html']] }

function request(target: string, changes: Partial<OfflineRequest> = {}): OfflineRequest {
  return { method: 'GET', target, headers: [['Host', 'example.org']], ...changes }
}

interface Case {
  readonly name: string
  readonly request: OfflineRequest
  readonly response?: OfflineResponse
  readonly matched: readonly number[]
  readonly verdict: object
}

const bytes = (content: string): Uint8Array => new TextEncoder().encode(content)

const cases: readonly Case[] = [
  { name: 'a clean request', request: request('/'), matched: [], verdict: { action: 'pass' } },
  {
    name: 'an attack in the query',
    request: request('/?q=attack'),
    matched: [2],
    verdict: { action: 'deny', status: 406, ruleId: 2, phase: 2 },
  },
  {
    name: 'a form body',
    request: request('/', {
      method: 'POST',
      headers: Object.entries(form),
      body: bytes('a=b&q=attack'),
    }),
    matched: [2],
    verdict: { action: 'deny' },
  },
  {
    name: 'a body that never ends: phase 2 does not run',
    request: request('/?q=attack', { headers: [['X-Probe', 'one']], body: 'incomplete' }),
    matched: [1],
    verdict: { action: 'needs-body' },
  },
  {
    name: 'protocol and peer',
    request: request('/', { protocol: 'HTTP/2.0', peer: '192.0.2.7' }),
    matched: [7, 8],
    verdict: { action: 'pass' },
  },
  {
    name: 'a response head',
    request: request('/'),
    response: { status: 503, headers: [['X-Leak', 'x']], body: bytes('secret') },
    matched: [4, 6],
    verdict: { action: 'pass' },
  },
  {
    name: 'a response body',
    request: request('/'),
    response: { ...html, body: bytes('a secret') },
    matched: [5],
    verdict: { action: 'deny', status: 502 },
  },
]

for (const { name, request: one, response, matched, verdict } of cases) {
  test(`${name} matches ${matched.join(', ') || 'nothing'}`, () => {
    const inspected = engine.inspect(one, response ?? null)
    expect(inspected.matched.map(({ rule }) => rule.id)).toEqual(matched)
    expect(inspected.verdict).toMatchObject(verdict)
  })
}

test('TX is there at the end, and messages are expanded', () => {
  const inspected = engine.inspect(request('/?q=attack', { headers: [['x-probe', 'one']] }))
  expect(inspected.tx.get('seen')).toBe('one')
  expect(inspected.matched.at(-1)?.message).toBe('attack')
})

const raw = (lines: string): Buffer => Buffer.from(lines.replaceAll('\n', '\r\n'), 'latin1')

test('raw bytes are read as a connection reads them', () => {
  const chunked = 'POST /?q=1 HTTP/1.1\nHost: A\nTransfer-Encoding: chunked\n\n3\na=b\n0\n\n'
  const { kind, ...rest } = engine.inspectRaw(raw(chunked))
  expect(kind).toBe('inspected')
  expect(rest).toMatchObject({
    request: { method: 'POST', target: '/?q=1', hostname: 'a', content: bytes('a=b') },
    bodyRefusal: null,
  })
})

test.each([
  ['two hosts', 'GET / HTTP/1.1\nHost: a\nHost: b\n\n', 'BAD_REQUEST'],
  ['no version of ours', 'GET / HTTP/2.0\nHost: a\n\n', 'VERSION_NOT_SUPPORTED'],
  ['a long line', `GET /${'a'.repeat(9_000)} HTTP/1.1\nHost: a\n\n`, 'URI_TOO_LONG'],
  ['half a head', 'GET / HTTP/1.1\nHost: a\n', 'BAD_REQUEST'],
])('raw bytes are refused before the rules: %s', (_, text, code) => {
  const refused = engine.inspectRaw(raw(text))
  expect(refused).toMatchObject({ kind: 'refused', refusal: { code } })
})

test('a raw body that ends early or breaks is not inspected', () => {
  const short = raw('POST /?q=attack HTTP/1.1\nHost: a\nContent-Length: 9\n\na=b')
  expect(engine.inspectRaw(short)).toMatchObject({
    inspected: { verdict: { action: 'needs-body' }, matched: [] },
  })
  const broken = raw('POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\nzz\n')
  expect(engine.inspectRaw(broken)).toMatchObject({ bodyRefusal: { code: 'BAD_REQUEST' } })
})

test('a response is made for a raw request', () => {
  const answered = engine.inspectRaw(raw('GET /x HTTP/1.1\nHost: a\n\n'), {}, ({ target }) => ({
    ...html,
    body: bytes(`secret of ${target}`),
  }))
  expect(answered).toMatchObject({ inspected: { verdict: { action: 'deny', ruleId: 5 } } })
})

test('persistent collections outlive a request, and expire by the clock of the requests', () => {
  const counting = createEngine([
    {
      file: 'count.conf',
      text: `
SecRuleEngine On
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},setvar:ip.n=+1,expirevar:ip.n=60"
SecRule IP:n "@ge 2" "id:2,phase:1,deny"`,
    },
  ])
  const at = (timeMs: number, peer = '192.0.2.1'): string =>
    counting.inspect(request('/', { timeMs, peer })).verdict.action
  const hour = 3_600_000
  expect([at(0), at(1_000), at(1_000, '192.0.2.2'), at(hour)]).toEqual([
    'pass',
    'deny',
    'pass',
    'pass',
  ])
  counting.close()
})

test('rules that do not compile are refused with file and line', () => {
  const wrong = [{ file: 'wrong.conf', text: '\nSecRule ARGS "@rx (" "id:1,phase:2,pass"' }]
  expect(() => createEngine(wrong)).toThrow(SecLangError)
})
