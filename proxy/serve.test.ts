/** The order of one exchange, with the WAF replaced by scripted verdicts. */
import { expect, test } from 'vitest'
import type { BodyStatus, Outcome } from './batch.ts'
import { edge, inspection, route } from './edge.fixture.ts'
import { errorCodes } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { Plan } from './plan.ts'
import { type RequestOptions, request } from './request.fixture.ts'
import { conclude, serve, serveBody, serveUninspected } from './serve.ts'

const outcome: Outcome = {
  status: 200,
  error: null,
  endpoint: 4,
  attempts: 1,
  failedFirst: null,
  requestBodyBytes: 0,
  responseBodyBytes: 3,
  durationUs: 10,
  upstreamFirstByteUs: 5,
  clientAborted: false,
  headSent: true,
}

function exchange(options: RequestOptions = {}): Exchange {
  return new Exchange({
    id: 1,
    request: request(options),
    requestId: 'r-1',
    clientAddress: '192.0.2.1',
    timeMs: 0,
  })
}

function summary(plan: Plan): string {
  return plan.kind === 'respond' ? `respond ${plan.status}` : plan.kind
}

test('a request is forwarded to its route, endpoint by endpoint', () => {
  const one = edge()
  const first = serve(exchange(), one)
  const second = serve(exchange(), one)
  expect(first).toMatchObject({ kind: 'forward', endpoint: 4, bodyBytesMax: 1_000 })
  expect(second).toMatchObject({ kind: 'forward', endpoint: 5, connectTimeoutMs: 1 })
})

const plans = [
  ['no route', { authority: 'other.example' }, {}, 'respond 404'],
  ['a doubt', { flags: 256 }, {}, 'respond 400'],
  ['a doubt before no route', { flags: 256, authority: 'other.example' }, {}, 'respond 400'],
  ['a redirect', {}, { redirect: { enabled: true, httpsPort: 443 } }, 'respond 308'],
  [
    'a redirect without host',
    { authority: '' },
    { redirect: { enabled: true, httpsPort: 443 } },
    'respond 400',
  ],
] as const

for (const [name, options, changes, expected] of plans) {
  test(`${name}: ${expected}, with the request id`, () => {
    const plan = serve(exchange(options), edge(changes))
    expect(summary(plan)).toBe(expected)
    expect(plan.kind === 'respond' && plan.headers).toContainEqual(['x-request-id', 'r-1'])
  })
}

const bodyCases = [
  ['complete', 'reject', 'forward'],
  ['over-max', 'reject', 'respond 413'],
  ['over-max', 'stream', 'forward'],
  ['incomplete', 'stream', 'respond 400'],
  ['over-budget', 'stream', 'respond 503'],
  ['timeout', 'reject', 'respond 408'],
] as const satisfies readonly (readonly [BodyStatus, string, string])[]

for (const [status, overInspectMax, expected] of bodyCases) {
  test(`a body that is ${status} under ${overInspectMax}: ${expected}`, () => {
    const one = exchange({ flags: 1 })
    one.route = { ...route, inspection: { ...inspection, overInspectMax } }
    expect(summary(serveBody(one, status, edge()))).toBe(expected)
  })
}

test('what cannot be inspected follows onFailure', () => {
  expect(summary(serveUninspected(exchange(), edge()))).toBe('respond 503')
  const one = exchange()
  one.route = route
  expect(summary(serveUninspected(one, edge({ onFailure: 'pass' })))).toBe('forward')
})

test('the outcome becomes one entry', () => {
  const one = exchange({ headers: [['user-agent', 'curl']] })
  const it = edge()
  serve(one, it)
  expect(conclude(one, outcome, it)).toMatchObject({
    route: 'r',
    status: 200,
    error: null,
    userAgent: 'curl',
    upstream: { name: 'u', endpoint: 'http://a:1', attempts: 1, firstByteUs: 5 },
    waf: null,
  })
})

test("the wire's error wins over ours, by its index", () => {
  const one = exchange()
  const error = errorCodes.indexOf('UPSTREAM_CONNECT_FAILED')
  expect(conclude(one, { ...outcome, status: 502, error }, edge()).error).toBe(
    'UPSTREAM_CONNECT_FAILED',
  )
})
