import { expect, test } from 'vitest'
import { type AccessEntry, accessLine, redactQuery } from './access-log.ts'

const entry: AccessEntry = {
  timeMs: 0,
  requestId: 'r-1',
  listener: 'https',
  protocol: 'HTTP/3',
  method: 'GET',
  scheme: 'https',
  authority: 'example.org:8443',
  path: '/a',
  query: '',
  userAgent: '',
  peer: '192.0.2.1',
  peerPort: 50_000,
  client: '192.0.2.9',
  route: null,
  status: 404,
  error: 'NO_ROUTE',
  requestBodyBytes: 0,
  responseBodyBytes: 12,
  durationUs: 1_500,
  upstream: null,
  waf: null,
}

function parsed(changes: Partial<AccessEntry> = {}): Record<string, unknown> {
  const line = accessLine({ ...entry, ...changes })
  expect(line.endsWith('}\n')).toBe(true)
  const fields: Record<string, unknown> = JSON.parse(line)
  return fields
}

test('a short entry has OpenTelemetry names and nothing empty', () =>
  expect(parsed()).toEqual({
    timestamp: '1970-01-01T00:00:00.000Z',
    log: 'access',
    'request.id': 'r-1',
    'edge.listener': 'https',
    'network.protocol.name': 'http',
    'network.protocol.version': '3',
    'network.peer.address': '192.0.2.1',
    'network.peer.port': 50_000,
    'client.address': '192.0.2.9',
    'http.request.method': 'GET',
    'url.scheme': 'https',
    'server.address': 'example.org',
    'url.path': '/a',
    'http.response.status_code': 404,
    'http.request.body.size': 0,
    'http.response.body.size': 12,
    'http.server.request.duration': 0.0015,
    'error.type': 'NO_ROUTE',
  }))

test('route, upstream and WAF are told when there are any', () =>
  expect(
    parsed({
      error: null,
      route: 'default',
      query: 'a=1&Token=abc',
      userAgent: 'curl/8',
      upstream: { name: 'u', endpoint: 'http://h:1', attempts: 2, firstByteUs: 500 },
      waf: { mode: 'block', verdict: 'deny', score: 5, rules: [942_100] },
    }),
  ).toMatchObject({
    'http.route': 'default',
    'url.query': 'a=1&Token=REDACTED',
    'user_agent.original': 'curl/8',
    'edge.upstream.name': 'u',
    'edge.upstream.endpoint': 'http://h:1',
    'edge.upstream.attempts': 2,
    'edge.upstream.first_byte_seconds': 0.0005,
    'edge.waf.mode': 'block',
    'edge.waf.verdict': 'deny',
    'edge.waf.score': 5,
    'edge.waf.rules': [942_100],
  }))

for (const path of ['/"', '/\\', '/\n{"log":"access"}', '/\x00\x7f', '/ä\u2028']) {
  test(`the path ${JSON.stringify(path)} stays one field of one line`, () => {
    expect(parsed({ path })['url.path']).toBe(path)
    expect(accessLine({ ...entry, path }).trimEnd()).not.toContain('\n')
  })
}

test('a long text is cut', () => {
  const cut = parsed({ path: 'x'.repeat(5_000) })['url.path']
  expect(cut).toBe(`${'x'.repeat(1_024)}…`)
})

for (const [query, expected] of [
  ['', ''],
  ['a', 'a'],
  ['password=1', 'password=REDACTED'],
  ['PassWord=1&b=2', 'PassWord=REDACTED&b=2'],
  ['%74oken=x', '%74oken=REDACTED'],
  ['token', 'token'],
  ['a=b=c&token=x=y', 'a=b=c&token=REDACTED'],
  ['%zz=1', '%zz=1'],
] as const) {
  test(`the query "${query}" is logged as "${expected}"`, () =>
    expect(redactQuery(query)).toBe(expected))
}
