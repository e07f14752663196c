/** The order of one exchange, with the WAF replaced by scripted verdicts. */
import { expect, test } from 'vitest'
import type { BodyStatus, Outcome } from './batch.ts'
import { edge, inspection, route } from './edge.fixture.ts'
import { type ErrorCode, errorCodes } from './errors.ts'
import { Exchange } from './exchange.ts'
import type { Plan } from './plan.ts'
import { type RequestOptions, request } from './request.fixture.ts'
import { flagBits } from './request.ts'
import { Router } from './router.ts'
import { conclude, serve, serveBody, serveUninspected } from './serve.ts'
import { balancer, endpointState } from './upstream/balancer.fixture.ts'
import { EndpointLoads } from './upstream/endpoint-load.ts'

const code = (name: ErrorCode): number => errorCodes.indexOf(name)

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

const limitCases = [
  // The route's own limit is the lower one: more than it is never streamed.
  [100, 'stream', 'respond 413'],
  [101, 'stream', 'forward'],
  [99, 'stream', 'respond 413'],
] as const

for (const [bodyBytesMax, overInspectMax, expected] of limitCases) {
  test(`over 100 bytes, of which the route takes ${bodyBytesMax}: ${expected}`, () => {
    const one = exchange({ flags: 1 })
    one.route = { ...route, bodyBytesMax, inspection: { ...inspection, overInspectMax } }
    expect(summary(serveBody(one, 'over-max', edge()))).toBe(expected)
  })
}

const websocket = flagBits.websocket | flagBits.upgrade

test('a WebSocket becomes a tunnel where the route allows it', () => {
  const plan = serve(exchange({ flags: websocket }), edge())
  expect(plan).toMatchObject({ kind: 'forward', tunnel: true })
  const closed = edge({ router: new Router([{ ...route, websocket: false }]) })
  expect(summary(serve(exchange({ flags: websocket }), closed))).toBe('respond 501')
  expect(serve(exchange(), edge())).toMatchObject({ kind: 'forward', tunnel: false })
})

test('another upgrade is an ordinary request', () =>
  expect(serve(exchange({ flags: flagBits.upgrade }), edge())).toMatchObject({ tunnel: false }))

test('early data that may change something has to come again', () => {
  const early = flagBits.early
  expect(summary(serve(exchange({ flags: early, method: 'POST' }), edge()))).toBe('respond 425')
  expect(summary(serve(exchange({ flags: early }), edge()))).toBe('forward')
})

test('with no endpoint that may be used: 503 and its own code', () => {
  const away = [endpointState(4, { health: 'unhealthy' })]
  const one = exchange()
  const plan = serve(one, edge({ balancer: balancer({ panic: false }, away) }))
  expect([summary(plan), one.error]).toEqual(['respond 503', 'NO_HEALTHY_ENDPOINT'])
})

test('a plan names the other endpoint, and each end is counted', () => {
  const it = edge()
  const one = exchange()
  const plan = serve(one, it)
  expect(plan).toMatchObject({ endpoint: 4, alternatives: [5], retry: true })
  const { endpoint } = one
  expect(endpoint?.outstanding).toBe(1)
  serveUninspected(one, edge({ ...it, onFailure: 'pass' }))
  expect(endpoint?.outstanding).toBe(0)
  conclude(one, outcome, it)
  expect(one.endpoint?.outstanding).toBe(0)
})

// One row: what five exchanges end with, and who is told of.
const lessons: readonly (readonly [string, Partial<Outcome>, readonly number[]])[] = [
  ['a success', {}, []],
  ['a connect failure', { error: code('UPSTREAM_CONNECT_FAILED') }, [4]],
  ['garbage', { error: code('UPSTREAM_INVALID_RESPONSE') }, [4]],
  ["the client's fault", { error: code('REQUEST_BODY_TIMEOUT') }, []],
  ['a client that went away', { clientAborted: true, error: code('CLIENT_ABORTED') }, []],
  ['an answer of 500', { status: 500 }, []],
  [
    'a first attempt that failed',
    { attempts: 2, endpoint: 5, failedFirst: { endpoint: 4, error: code('UPSTREAM_CLOSED') } },
    [4],
  ],
]

for (const [name, changes, expected] of lessons) {
  test(`${name}, five times: ${expected.length === 0 ? 'nobody' : 'it'} is told of`, () => {
    const loads = new EndpointLoads()
    const it = edge({ balancer: balancer({}, undefined, { loads }) })
    for (let turn = 0; turn < 5; turn += 1) {
      const one = exchange()
      serve(one, it)
      conclude(one, { ...outcome, ...changes }, it)
    }
    expect(loads.takeFailing()).toEqual(expected)
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
