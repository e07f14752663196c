/** Events and what they are made of, for tests. */
import type { AccessEntry } from '../access-log.ts'
import type { EventQuery, StoredEvent } from './event.ts'

/** A request that the WAF refused. */
export const entry: AccessEntry = {
  timeMs: 1_000,
  requestId: 'r',
  listener: 'https',
  protocol: 'HTTP/2',
  method: 'GET',
  scheme: 'https',
  authority: 'example.org',
  path: '/search',
  query: 'token=x&q=1',
  userAgent: '',
  peer: '192.0.2.1',
  peerPort: 1,
  client: '192.0.2.1',
  route: 'shop',
  status: 403,
  error: null,
  requestBodyBytes: 0,
  responseBodyBytes: 20,
  durationUs: 7_000,
  upstream: null,
  waf: { mode: 'block', verdict: 'deny', score: 5, rules: [942_100, 949_110] },
}

/** An event with only what it is found by. */
export function stored(changes: Partial<StoredEvent> = {}): StoredEvent {
  const { requestId = 'r' } = changes
  const rules = [942_100]
  const json = JSON.stringify({ 'request.id': requestId })
  return { requestId, timeMs: 1_000, path: '/search', blocked: true, rules, json, ...changes }
}

/** Everything, five at a time. */
export const anything: EventQuery = {
  limit: 5,
  rule: null,
  path: null,
  sinceMs: null,
  blocked: null,
  before: null,
}
