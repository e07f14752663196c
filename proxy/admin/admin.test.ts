import { expect, test } from 'vitest'
import type { AccessEntry } from '../access-log.ts'
import { WorkerMetrics } from '../metrics.ts'
import { Collector } from './collector.ts'
import type { EventQuery } from '../events/event.ts'
import { expose } from './exposition.ts'
import { samplesOf } from './samples.ts'
import { type AdminSource, adminServer, statusServer } from './server.ts'

const entry: AccessEntry = {
  timeMs: 0,
  requestId: 'r',
  listener: 'https',
  protocol: 'HTTP/2',
  method: 'BREW',
  scheme: 'https',
  authority: 'example.org',
  path: '/',
  query: 'token=x',
  userAgent: '',
  peer: '192.0.2.1',
  peerPort: 1,
  client: '192.0.2.1',
  route: 'default',
  status: 403,
  error: null,
  requestBodyBytes: 10,
  responseBodyBytes: 20,
  durationUs: 7_000,
  upstream: null,
  waf: { mode: 'block', verdict: 'deny', score: 5, rules: [942_100] },
}

function metrics(): WorkerMetrics {
  const worker = new WorkerMetrics()
  worker.exchange(entry)
  return worker
}

test('counters of all workers are summed under the names of the product', async () => {
  const text = await expose([metrics().report(), metrics().report()], [])
  const own = 'listener="https",route="default"'
  const duration = 'edge_http_request_duration_seconds'
  for (const line of [
    `edge_http_requests_total{${own},method="_OTHER",protocol="HTTP/2",code="403"} 2`,
    `${duration}_bucket{le="0.005",${own},protocol="HTTP/2"} 0`,
    `${duration}_bucket{le="0.01",${own},protocol="HTTP/2"} 2`,
    `${duration}_bucket{le="+Inf",${own},protocol="HTTP/2"} 2`,
    `${duration}_count{${own},protocol="HTTP/2"} 2`,
    'edge_waf_requests_total{route="default",mode="block",verdict="deny"} 2',
    'edge_waf_rule_matches_total{route="default",rule_id="942100"} 2',
  ]) {
    expect(text.split('\n')).toContain(line)
  }
})

test("the wire's and the program's numbers are exposed", async () => {
  const stats = {
    connectionsOpen: 3,
    connections: { h1Tls: 2 },
    refusals: { BAD_REQUEST: 1 },
    quic: { handshakes: 4, packetsLost: 5 },
  }
  const state = {
    version: '1',
    rules: 'OWASP_CRS/4.28.0',
    startTimeMs: 0,
    workerRestarts: 6,
    reloads: {
      generation: 3,
      accepted: 2,
      refused: 1,
      certificateFailures: 1,
      last: { ok: false, timeMs: 0 },
    },
    events: { count: 7, bytes: 8, lost: 9 },
    certificates: [{ san: 'example.org', notAfterMs: 1_000 }],
  }
  const lines = (await expose([], samplesOf(stats, state))).split('\n')
  for (const line of [
    'edge_connections_open 3',
    'edge_connections_total{protocol="h1_tls"} 2',
    'edge_wire_refusals_total{error="BAD_REQUEST"} 1',
    'edge_quic_handshakes_total 4',
    'edge_quic_packets_lost_total 5',
    'edge_waf_worker_restarts_total 6',
    'edge_config_last_reload_successful 0',
    'edge_config_reloads_total{result="accepted"} 2',
    'edge_config_reloads_total{result="refused"} 1',
    'edge_config_generation 3',
    'edge_certificate_reload_failures_total 1',
    'edge_events_held 7',
    'edge_events_unwritten_total 9',
    'edge_tls_certificate_not_after_timestamp_seconds{san="example.org"} 1',
  ]) {
    expect(lines).toContain(line)
  }
})

test('what a worker that is gone had counted stays counted', async () => {
  const ask = (): number => {
    queueMicrotask(() => collector.reported(1, report))
    return 1
  }
  const collector: Collector = new Collector({ ask }, { add: () => undefined })
  const report = { kind: 'report', series: metrics().report(), events: [] } as const
  collector.reported(0, report)
  collector.ended(0)
  const text = await expose(await collector.reports(), [])
  expect(text).toContain('edge_waf_requests_total{route="default",mode="block",verdict="deny"} 2')
})

test('a worker that does not answer does not hold up a scrape', async () => {
  const collector = new Collector({ ask: () => 1 }, { add: () => undefined }, 5)
  collector.reported(0, { kind: 'report', series: metrics().report(), events: [] })
  expect(await collector.reports()).toHaveLength(2)
})

const asked: EventQuery[] = []
const source: AdminSource = {
  config: () => ({ waf: 'block' }),
  reloads: () => ({ generation: 3 }),
  events: async (query) => {
    asked.push(query)
    return { events: ['{"request.id":"r"}'], next: 7 }
  },
  event: async (requestId) => (requestId === 'r/1' ? '{"request.id":"r/1"}' : null),
  routes: () => [],
  metrics: async () => 'm 1\n',
  upstreams: async () => [{ name: 'u' }],
  ready: () => [
    { name: 'rules', ok: true },
    { name: 'workers', ok: false },
  ],
  started: () => [{ name: 'started', ok: true }],
}

test('probes tell their checks when asked', async () => {
  const server = statusServer(source)
  expect((await server.inject('/livez')).statusCode).toBe(200)
  expect((await server.inject('/startupz')).statusCode).toBe(200)
  const ready = await server.inject('/readyz?verbose')
  expect([ready.statusCode, ready.body]).toEqual([503, '[+]rules\n[-]workers\nnot ready\n'])
  const without = await server.inject('/readyz?verbose&exclude=workers&exclude=other')
  expect([without.statusCode, without.body]).toEqual([200, '[+]rules\nok\n'])
  expect((await server.inject('/metrics')).body).toBe('m 1\n')
})

test('the status listener shows neither configuration nor events', async () => {
  const server = statusServer(source)
  expect((await server.inject('/config')).statusCode).toBe(404)
  expect((await server.inject('/events')).statusCode).toBe(404)
  expect((await server.inject({ method: 'POST', url: '/metrics' })).statusCode).toBe(404)
})

test('the admin API shows configuration and events, up to a limit', async () => {
  const server = adminServer(source)
  expect((await server.inject('/config')).json()).toEqual({ waf: 'block' })
  expect((await server.inject('/upstreams')).json()).toEqual({ upstreams: [{ name: 'u' }] })
  expect((await server.inject('/reloads')).json()).toEqual({ generation: 3 })
  expect((await server.inject('/events')).json()).toEqual({
    events: [{ 'request.id': 'r' }],
    next: 7,
  })
  const filters = 'limit=5&rule=942100&path=/a&since=2026-11-21T00:00:00Z&blocked=true&cursor=9'
  expect((await server.inject(`/events?${filters}`)).statusCode).toBe(200)
  expect(asked).toEqual([
    { limit: 100, rule: null, path: null, sinceMs: null, blocked: null, before: null },
    {
      limit: 5,
      rule: 942_100,
      path: '/a',
      sinceMs: Date.UTC(2026, 10, 21),
      blocked: true,
      before: 9,
    },
  ])
  for (const wrong of ['limit=0', 'limit=x', 'since=never', 'blocked=maybe', 'cursor=-1']) {
    expect((await server.inject(`/events?${wrong}`)).statusCode).toBe(400)
  }
})

test('one event is served by its request id, and an unknown id is 404', async () => {
  const server = adminServer(source)
  const found = await server.inject('/events/r%2F1')
  expect([found.statusCode, found.json()]).toEqual([200, { 'request.id': 'r/1' }])
  const missing = await server.inject('/events/none')
  expect([missing.statusCode, missing.json()]).toEqual([404, { error: 'no event of request none' }])
})
