/**
 * The whole life of one exchange. Each function is one moment of it, in order; no step calls the
 * next one: the wire carries a plan out and comes back.
 *
 *   redirect → route → WAF phase 1 → (body) → WAF phase 2 → content policy → forward
 *     → (WAF phases 3 and 4) → outcome: WAF phase 5, access log, metrics
 */
import type { Verdict } from '../waf/verdict.ts'
import type { Waf } from '../waf/waf.ts'
import { accessEntry } from './access-entry.ts'
import type { AccessEntry } from './access-log.ts'
import type { BodyStatus, Outcome } from './batch.ts'
import type { ErrorCode } from './errors.ts'
import { type Exchange, factsOf } from './exchange.ts'
import { forwardedHeaders } from './forwarding.ts'
import type { HeaderField, Plan } from './plan.ts'
import { type ContentPolicy, inspectsBody, isGrpc, refusal } from './policy.ts'
import { type RedirectOptions, redirect } from './redirect.ts'
import type { InspectionPolicy, Route } from './route.ts'
import type { Router } from './router.ts'
import type { TrustedProxies } from './trust.ts'
import type { Balancer } from './upstream/balancer.ts'

/** Everything that decides about exchanges: one frozen snapshot, replaced whole. */
export interface Edge {
  readonly listeners: readonly string[]
  readonly redirect: RedirectOptions
  readonly router: Router<Route>
  readonly unrouted: InspectionPolicy
  /** Null where the WAF is off for the whole program. */
  readonly waf: Waf | null
  readonly onFailure: 'deny' | 'pass'
  readonly responseInspectMaxBytes: number
  readonly policy: ContentPolicy
  readonly trusted: TrustedProxies
  readonly balancer: Balancer
  /** The wire's error names, by the index that outcomes carry. */
  readonly errorCodes: readonly ErrorCode[]
}

/** The head is here. */
export function serve(exchange: Exchange, edge: Edge): Plan {
  const { request } = exchange
  const redirected = redirect(request, edge.redirect)
  if (redirected === 'no-host') return exchange.fail('BAD_REQUEST')
  if (redirected !== null) return exchange.answer(redirected)
  exchange.route = edge.router.match(request)
  const inspection = exchange.route?.inspection ?? edge.unrouted
  if (edge.waf === null || inspection.mode === 'off') return onwards(exchange, edge)
  const facts = factsOf(exchange, inspectsBody(request, inspection))
  exchange.transaction = edge.waf.begin(facts, inspection.mode)
  const verdict = edge.waf.requestHead(exchange.transaction)
  if (verdict.action === 'needs-body') {
    return { kind: 'read-body', maxBytes: inspection.inspectMaxBytes }
  }
  return stopped(exchange, verdict, edge) ?? onwards(exchange, edge)
}

/** The body is here, or what came of it; the addon holds it for phase 2. */
export function serveBody(exchange: Exchange, status: BodyStatus, edge: Edge): Plan {
  const { overInspectMax } = exchange.route?.inspection ?? edge.unrouted
  const error = bodyErrors[status]
  if (error !== null && !(status === 'over-max' && overInspectMax === 'stream')) {
    return exchange.fail(error)
  }
  const verdict = inspect(exchange, edge, (waf, transaction) => waf.requestBody(transaction))
  return stopped(exchange, verdict, edge) ?? onwards(exchange, edge)
}

/** The WAF threw, and what cannot be inspected follows `waf.onFailure`. */
export function serveUninspected(exchange: Exchange, edge: Edge): Plan {
  exchange.wafResult = 'failed'
  return edge.onFailure === 'deny' ? exchange.fail('WAF_UNAVAILABLE') : onwards(exchange, edge)
}

/** The backend's response head is here; the client has seen nothing of it. */
export function serveResponse(
  exchange: Exchange,
  response: { readonly status: number; readonly headers: readonly HeaderField[] },
  edge: Edge,
): Plan {
  const verdict = inspect(exchange, edge, (waf, transaction) =>
    waf.responseHead(transaction, response),
  )
  if (verdict.action === 'needs-body') {
    return { kind: 'read-response-body', maxBytes: edge.responseInspectMaxBytes }
  }
  return stopped(exchange, verdict, edge) ?? { kind: 'pass-response', responseEdits: [] }
}

/** The response body is here, as far as it is inspected. */
export function serveResponseBody(exchange: Exchange, edge: Edge): Plan {
  const verdict = inspect(exchange, edge, (waf, transaction) => waf.responseBody(transaction))
  return stopped(exchange, verdict, edge) ?? { kind: 'pass-response', responseEdits: [] }
}

/** It is over, however it ended: phase 5, and the line for log, metrics and events. */
export function conclude(exchange: Exchange, outcome: Outcome, edge: Edge): AccessEntry {
  if (outcome.error !== null) exchange.error = edge.errorCodes[outcome.error] ?? 'INTERNAL'
  if (edge.waf !== null && exchange.transaction !== null) {
    edge.waf.logging(exchange.transaction, { status: outcome.status })
  }
  return accessEntry(exchange, outcome, edge.listeners)
}

const bodyErrors: Record<BodyStatus, ErrorCode | null> = {
  complete: null,
  'over-max': 'REQUEST_BODY_TOO_LARGE',
  incomplete: 'REQUEST_BODY_INCOMPLETE',
  'over-budget': 'BODY_BUDGET_EXHAUSTED',
  timeout: 'REQUEST_BODY_TIMEOUT',
}

/** After the WAF: what the policy refuses, what nobody serves, and at last the backend. */
function onwards(exchange: Exchange, edge: Edge): Plan {
  const refused = refusal(exchange.request, edge.policy)
  if (refused !== null) return exchange.fail(refused)
  if (exchange.route === null) return exchange.fail('NO_ROUTE')
  const { upstream, bodyBytesMax } = exchange.route
  const endpoint = edge.balancer.choose(upstream.name)
  if (endpoint === null) return exchange.fail('NO_SUCH_ENDPOINT')
  exchange.endpoint = endpoint
  const { transaction, request, requestId } = exchange
  const need =
    edge.waf === null || transaction === null ? 'none' : edge.waf.responseNeed(transaction)
  return {
    kind: 'forward',
    endpoint,
    alternatives: [],
    retry: true,
    tunnel: false,
    allTrailers: isGrpc(request),
    inspectResponseHead: need !== 'none',
    inspectResponseBody: need === 'body',
    connectTimeoutMs: upstream.connectTimeoutMs,
    firstByteTimeoutMs: upstream.firstByteTimeoutMs,
    idleTimeoutMs: upstream.idleTimeoutMs,
    bodyBytesMax,
    ...forwardedHeaders(request, edge.trusted, requestId),
  }
}

/** The plan of a verdict that ends the exchange; null to go on. */
function stopped(exchange: Exchange, verdict: Verdict, edge: Edge): Plan | null {
  if (verdict.action === 'pass' || verdict.action === 'needs-body') return null
  if (verdict.action === 'failed') {
    // Never a silent pass: with `pass` the log line still says that it was not inspected.
    exchange.wafResult = 'failed'
    return edge.onFailure === 'deny' ? exchange.fail('WAF_BUDGET_EXCEEDED') : null
  }
  exchange.wafResult = verdict.action
  if (verdict.action === 'deny') return exchange.deny(verdict.status)
  const headers: HeaderField[] = [['location', verdict.location]]
  const { status } = verdict
  return exchange.answer({ kind: 'respond', status, headers, body: '', close: false })
}

function inspect(
  exchange: Exchange,
  { waf }: Edge,
  phase: (waf: Waf, transaction: NonNullable<Exchange['transaction']>) => Verdict,
): Verdict {
  const { transaction } = exchange
  return waf === null || transaction === null ? { action: 'pass' } : phase(waf, transaction)
}
