import { expect, test } from 'vitest'
import { forwardedHeaders, headerTemplates, requestIdOf } from './forwarding.ts'
import type { HeaderEdit, HeaderField } from './plan.ts'
import { type RequestOptions, request } from './request.fixture.ts'
import { TrustedProxies } from './trust.ts'

const trusted = new TrustedProxies(['10.0.0.0/8', '2001:db8::/32', '192.0.2.77'])
const nobody = new TrustedProxies([])
const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** What the wire makes of a plan: the template filled in, then the plan's own edits. */
function edits(options: RequestOptions, proxies = trusted): Record<string, string> {
  const received = request(options)
  const plan = forwardedHeaders(received, proxies, 'id')
  const values: Readonly<Record<string, string>> = {
    peer: received.peer,
    scheme: received.tls ? 'https' : 'http',
    authority: received.authority,
    'local-port': String(received.facts.localPort),
    version: received.protocol.slice(5),
    'request-id': plan.requestId,
  }
  const fill = (text: string): string =>
    text.replace(/%{([a-z-]+)}/g, (_, name: string) => values[name] ?? '?')
  const template = headerTemplates[plan.template - 1]?.request ?? []
  const all: readonly HeaderEdit[] = [...template, ...plan.requestEdits]
  return Object.fromEntries(
    all.map((edit) => [edit.name, edit.op === 'remove' ? '-' : fill(edit.value)]),
  )
}

const spoof: readonly HeaderField[] = [
  ['x-forwarded-for', '1.1.1.1'],
  ['X-Forwarded-Proto', 'https'],
  ['x-forwarded-host', 'evil.example'],
  ['x-forwarded-port', '1'],
  ['x-real-ip', '1.1.1.1'],
  ['forwarded', 'for=1.1.1.1'],
  ['via', '1.0 other'],
]

test('nothing that an untrusted peer says about itself survives', () => {
  for (const proxies of [trusted, nobody]) {
    expect(edits({ headers: spoof }, proxies)).toEqual({
      'x-forwarded-for': '192.0.2.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'example.org',
      'x-forwarded-port': '8080',
      'x-real-ip': '192.0.2.1',
      'x-request-id': 'id',
      via: '1.1 edge',
      forwarded: '-',
    })
  }
})

test('a trusted peer is appended, and what it says about the client stays', () =>
  expect(edits({ headers: spoof, peer: '10.1.2.3', flags: 2, protocol: 20 })).toEqual({
    'x-forwarded-for': '1.1.1.1, 10.1.2.3',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-port': '1',
    'x-real-ip': '1.1.1.1',
    'x-request-id': 'id',
    via: '2 edge',
    forwarded: '-',
  }))

test('a trusted peer that says nothing gets our own values', () =>
  expect(edits({ peer: '10.1.2.3', flags: 2, protocol: 30, localPort: 443 })).toMatchObject({
    'x-forwarded-for': '10.1.2.3',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'example.org',
    'x-forwarded-port': '443',
    via: '3 edge',
  }))

const clients = [
  ['192.0.2.1', ['9.9.9.9'], '192.0.2.1'],
  ['10.0.0.1', [], '10.0.0.1'],
  ['10.0.0.1', ['9.9.9.9'], '9.9.9.9'],
  ['10.0.0.1', ['6.6.6.6, 9.9.9.9'], '9.9.9.9'],
  ['10.0.0.1', ['6.6.6.6, 9.9.9.9, 10.0.0.2'], '9.9.9.9'],
  ['10.0.0.1', ['6.6.6.6', '9.9.9.9'], '9.9.9.9'],
  ['10.0.0.1', ['10.0.0.3, 10.0.0.2'], '10.0.0.3'],
  ['10.0.0.1', ['9.9.9.9, unknown, 10.0.0.2'], '10.0.0.2'],
  ['10.0.0.1', ['9.9.9.9:1234'], '9.9.9.9'],
  ['10.0.0.1', ['[2003::1]:1234'], '2003::1'],
  ['2001:db8::1', ['2003::1'], '2003::1'],
  ['192.0.2.77', ['9.9.9.9'], '9.9.9.9'],
  ['10.0.0.1', [''], '10.0.0.1'],
] as const

for (const [peer, values, client] of clients) {
  test(`${peer} saying "${values.join(' | ')}" means ${client}`, () => {
    const headers = values.map((value): HeaderField => ['x-forwarded-for', value])
    expect(trusted.clientOf(request({ peer, headers }))).toBe(client)
  })
}

function given(peer: string, id: string): string {
  return requestIdOf(request({ peer, headers: [['X-Request-Id', id]] }), trusted)
}

test('a request id is kept from trusted peers only, and only when it is harmless', () => {
  expect(given('10.0.0.1', 'abc-123')).toBe('abc-123')
  expect(given('192.0.2.1', 'abc-123')).toMatch(uuidV7)
  for (const bad of ['', '<script>', 'a b', '"', 'x'.repeat(129)]) {
    expect(given('10.0.0.1', bad)).toMatch(uuidV7)
  }
})

test('every response names the request and this hop, and what came in Via stays before us', () => {
  for (const { request: lines, response } of headerTemplates) {
    expect(response).toEqual([
      { op: 'set', name: 'x-request-id', value: '%{request-id}' },
      { op: 'append', name: 'via', value: '1.1 edge' },
    ])
    expect(lines).toContainEqual({ op: 'append', name: 'via', value: '%{version} edge' })
  }
})
