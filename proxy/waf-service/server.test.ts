import { Writable } from 'node:stream'
import { afterAll, expect, test } from 'vitest'
import { createEngine } from '../../waf/offline/engine.ts'
import { createLogger } from '../log.ts'
import { defaultServiceLimits, wafServer } from './server.ts'

const rules = `
SecRuleEngine On
SecRequestBodyAccess On
SecRule ARGS "@contains attack" "id:1,phase:2,deny,status:406,msg:'An attack',severity:CRITICAL"
SecRule REQUEST_HEADERS:X-Odd "@streq say \\"hi\\"" "id:2,phase:1,deny,status:403"
SecRule REMOTE_ADDR "@ipMatch 198.51.100.7" "id:3,phase:1,redirect:https://x.example/,status:302"
`
const engine = createEngine([{ file: 'test.conf', text: rules }])
let lines = ''
const stream = new Writable({
  write(chunk, _encoding, done) {
    lines += String(chunk)
    done()
  },
})
const limits = { ...defaultServiceLimits, callBytesMax: 4_096 }
const server = wafServer(() => engine, createLogger('info', stream), limits)
afterAll(async () => {
  await server.close()
  engine.close()
})

const json = { 'content-type': 'application/json' }

async function call(payload: string | object, headers: Record<string, string> = json) {
  const given = typeof payload === 'string' ? payload : JSON.stringify(payload)
  const answer = await server.inject({ method: 'POST', url: '/evaluate', headers, payload: given })
  return { status: answer.statusCode, ...answer.json<Record<string, unknown>>() }
}

const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
const base64 = (text: string): string => Buffer.from(text).toString('base64')

const cases: readonly (readonly [string, object, object])[] = [
  ['a clean request', { method: 'GET', uri: '/' }, { status: 200, allowed: true }],
  [
    'an attack in the query, without a body',
    { method: 'GET', uri: '/?q=attack', headers: {}, body: '' },
    { status: 403, allowed: false, status_code: 406, rule_id: 1, severity: 'CRITICAL' },
  ],
  [
    'an attack in the body',
    { method: 'POST', uri: '/', headers: form, body: 'q=attack' },
    { status: 403, message: 'An attack' },
  ],
  [
    'the same in Base64',
    { method: 'POST', uri: '/', headers: form, body_base64: base64('q=attack') },
    { status: 403, rule_id: 1 },
  ],
  [
    'quotes in a header',
    { method: 'GET', uri: '/', headers: { 'X-Odd': ['a', 'say "hi"'] } },
    { status: 403, rule_id: 2 },
  ],
  [
    'a redirect',
    { method: 'GET', uri: '/', remote_addr: '198.51.100.7', server_port: 443 },
    { status: 403, status_code: 302, location: 'https://x.example/' },
  ],
  ['no method', { uri: '/' }, { status: 400, allowed: false, message: /method/ }],
  [
    'both bodies',
    { method: 'GET', uri: '/', body: 'a', body_base64: 'YQ==' },
    { status: 400, allowed: false },
  ],
  ['no Base64', { method: 'GET', uri: '/', body_base64: '%%' }, { status: 400, allowed: false }],
  ['a long call', { method: 'GET', uri: `/${'a'.repeat(5_000)}` }, { status: 413, allowed: false }],
]
for (const [name, payload, expected] of cases) {
  test(`the service judges ${name}`, async () => {
    const asked = Object.entries(expected).map(([key, value]): [string, unknown] => [
      key,
      value instanceof RegExp ? expect.stringMatching(value) : value,
    ])
    expect(await call(payload)).toMatchObject(Object.fromEntries(asked))
  })
}

test.each(['{"method":', '[]', '"x"', ''])('what is no call is refused: %j', async (text) => {
  expect(await call(text)).toMatchObject({ status: 400, allowed: false })
})

test('the type of the call does not matter', async () => {
  const text = JSON.stringify({ method: 'GET', uri: '/' })
  expect(await call(text, { 'content-type': 'text/plain' })).toMatchObject({ status: 200 })
})

test('health is healthy, and refusals are logged', async () => {
  const health = await server.inject({ url: '/health' })
  expect(health.json()).toEqual({ status: 'healthy' })
  expect(lines).toContain('"rule":1')
})
