/**
 * The whole life of one exchange. Each function is one moment of it, in order; no step calls the
 * next one: the wire carries a plan out and comes back.
 *
 *   redirect → route → WAF phase 1 → (body) → WAF phase 2 → content policy → forward
 *     → (WAF phases 3 and 4) → outcome: WAF phase 5, access log, metrics
 *
 * Where a service inspects, each phase is a question to it, and `serveVerdict` goes on from there.
 */
import assert from 'node:assert'
import type { ResponseFacts } from '../waf/facts.ts'
import type { Verdict } from '../waf/verdict.ts'
import type { Waf } from '../waf/waf.ts'
import { accessEntry } from './access-entry.ts'
import type { AccessEntry } from './access-log.ts'
import type { BodyStatus, Outcome } from './batch.ts'
import type { BodyExtent } from './body-extent.ts'
import type { ErrorCode } from './errors.ts'
import { type Exchange, factsOf } from './exchange.ts'
import { forwardedHeaders } from './forwarding.ts'
import type { HeaderField, Plan, ResponseHold } from './plan.ts'
import { learn } from './learn.ts'
import { type ContentPolicy, inspectsBody, isGrpc, isTooEarly, refusal } from './policy.ts'
import { type RedirectOptions, redirect } from './redirect.ts'
import type { InspectionPolicy, Route } from './route.ts'
import type { Router } from './router.ts'
import type { TrustedProxies } from './trust.ts'
import type { Balancer } from './upstream/balancer.ts'
import { Asked, type Heard, type ServiceSettings } from './waf-service/asking.ts'

/** Everything that decides about exchanges: one frozen snapshot, replaced whole. */
export interface Edge {
  readonly listeners: readonly string[]
  readonly redirect: RedirectOptions
  readonly router: Router<Route>
  readonly unrouted: InspectionPolicy
  /** Null where the WAF is off for the whole program. */
  readonly waf: Waf | null
  /** Who inspects in place of `waf`; null: nobody does. */
  readonly service: ServiceSettings | null
  readonly onFailure: 'deny' | 'pass'
  readonly responseHold: ResponseHold
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
  if (isTooEarly(request)) return exchange.fail('TOO_EARLY')
  const inspection = exchange.route?.inspection ?? edge.unrouted
  if (inspection.mode === 'off') return onwards(exchange, edge)
  if (edge.service !== null) {
    const hasBody = inspectsBody(request, inspection)
    exchange.asked = new Asked(exchange, edge.service, { inspection, hasBody })
    return exchange.asked.ask('head')
  }
  if (edge.waf === null) return onwards(exchange, edge)
  const facts = factsOf(exchange, inspectsBody(request, inspection))
  exchange.transaction = edge.waf.begin(facts, inspection)
  const verdict = edge.waf.requestHead(exchange.transaction)
  if (verdict.action === 'needs-body') {
    return { kind: 'read-body', maxBytes: heldBytesMax(exchange, edge) }
  }
  return stopped(exchange, verdict, edge) ?? onwards(exchange, edge)
}

/** The body is here, or what came of it; the addon holds it for phase 2. */
export function serveBody(exchange: Exchange, status: BodyStatus, edge: Edge): Plan {
  const { route } = exchange
  const inspection = route?.inspection ?? edge.unrouted
  const error = bodyErrors[status]
  const heldMax = heldBytesMax(exchange, edge)
  const streams =
    status === 'over-max' &&
    inspection.overInspectMax === 'stream' &&
    // Else it is already longer than the route takes at all, or than the rules allow.
    heldMax !== route?.bodyBytesMax &&
    heldMax === inspection.inspectMaxBytes
  if (error !== null && !streams) return exchange.fail(error)
  if (exchange.asked !== null) return exchange.asked.ask('body')
  const verdict = inspect(exchange, edge, (waf, transaction) => waf.requestBody(transaction))
  return stopped(exchange, verdict, edge) ?? onwards(exchange, edge)
}

/** The service has answered, or cannot. */
export function serveVerdict(exchange: Exchange, heard: Heard, edge: Edge): Plan {
  const heeded = exchange.asked?.hear(heard) ?? null
  assert(heeded !== null, 'the service answers what it was asked')
  const { moment, verdict } = heeded
  const isRequest = moment === 'head' || moment === 'body'
  const next = (): Plan => (isRequest ? onwards(exchange, edge) : passResponse)
  if (verdict === null) {
    exchange.wafResult = 'failed'
    return edge.onFailure === 'deny' ? exchange.fail(heeded.error) : next()
  }
  if (verdict.action !== 'needs-body') return stopped(exchange, verdict, edge) ?? next()
  if (isRequest) return { kind: 'read-body', maxBytes: heldBytesMax(exchange, edge) }
  return serveResponseBody(exchange, exchange.asked?.extent ?? 'unread', edge)
}

/** The WAF threw, and what cannot be inspected follows `waf.onFailure`. */
export function serveUninspected(exchange: Exchange, edge: Edge): Plan {
  exchange.wafResult = 'failed'
  return edge.onFailure === 'deny' ? exchange.fail('WAF_UNAVAILABLE') : onwards(exchange, edge)
}

/**
 * The backend's response head is here, and mostly the body with it; the client has seen nothing.
 */
export function serveResponse(
  exchange: Exchange,
  response: ResponseFacts & { readonly body: BodyExtent },
  edge: Edge,
): Plan {
  if (exchange.asked !== null) return exchange.asked.ask('response', response)
  const verdict = inspect(exchange, edge, (waf, transaction) =>
    waf.responseHead(transaction, response),
  )
  if (verdict.action === 'needs-body') return serveResponseBody(exchange, response.body, edge)
  return stopped(exchange, verdict, edge) ?? passResponse
}

/** Phase 4 waits for the body, of which that much is here. */
export function serveResponseBody(exchange: Exchange, body: BodyExtent, edge: Edge): Plan {
  const isLonger = body === 'beginning' || body === 'too-long'
  if (isLonger && rejectsLonger(exchange, edge)) {
    exchange.wafResult = 'deny'
    return exchange.deny(tooLongStatus)
  }
  if (body === 'unread' || body === 'too-long') {
    return { kind: 'read-response-body', maxBytes: heldResponse(exchange, edge).bytesMax }
  }
  if (exchange.asked !== null) return exchange.asked.askBody(body)
  const verdict = inspect(exchange, edge, (waf, transaction) => waf.responseBody(transaction))
  return stopped(exchange, verdict, edge) ?? passResponse
}

/** It is over, however it ended: phase 5, and the line for log, metrics and events. */
export function conclude(exchange: Exchange, outcome: Outcome, edge: Edge): AccessEntry {
  if (outcome.error !== null) exchange.error = edge.errorCodes[outcome.error] ?? 'INTERNAL'
  if (exchange.endpoint !== null) edge.balancer.ended(exchange.endpoint)
  learn(exchange, outcome, edge)
  if (edge.waf !== null && exchange.transaction !== null) {
    edge.waf.logging(exchange.transaction, { status: outcome.status })
  }
  return accessEntry(exchange, outcome, edge)
}

const passResponse: Plan = Object.freeze({ kind: 'pass-response', responseEdits: [] })

const bodyErrors: Record<BodyStatus, ErrorCode | null> = {
  complete: null,
  'over-max': 'REQUEST_BODY_TOO_LARGE',
  incomplete: 'REQUEST_BODY_INCOMPLETE',
  'over-budget': 'BODY_BUDGET_EXHAUSTED',
  timeout: 'REQUEST_BODY_TIMEOUT',
  'too-slow': 'REQUEST_TOO_SLOW',
  invalid: 'BAD_REQUEST',
  'trailers-too-large': 'TRAILERS_TOO_LARGE',
}

/** After the WAF: what the policy refuses, what nobody serves, and at last the backend. */
function onwards(exchange: Exchange, edge: Edge): Plan {
  const refused = refusal(exchange.request, edge.policy)
  if (refused !== null) return exchange.fail(refused)
  if (exchange.route === null) return exchange.fail('NO_ROUTE')
  const { upstream, bodyBytesMax, websocket } = exchange.route
  const { request } = exchange
  if (request.websocket && !websocket) return exchange.fail('UPGRADE_NOT_SUPPORTED')
  // A plan that could not be written may have taken one before.
  if (exchange.endpoint !== null) edge.balancer.ended(exchange.endpoint)
  exchange.endpoint = null
  const choice = edge.balancer.choose(upstream.name, exchange)
  if (choice === null) return exchange.fail('NO_HEALTHY_ENDPOINT')
  const { endpoint, alternative, retry, cookie } = choice
  exchange.endpoint = endpoint
  const headers = forwardedHeaders(exchange, edge.trusted, cookie)
  return {
    kind: 'forward',
    endpoint: endpoint.id,
    alternatives: alternative === null ? none : [alternative.id],
    retry,
    tunnel: request.websocket,
    allTrailers: isGrpc(request),
    inspectResponse: inspectResponse(exchange, edge),
    connectTimeoutMs: upstream.connectTimeoutMs,
    firstByteTimeoutMs: upstream.firstByteTimeoutMs,
    idleTimeoutMs: upstream.idleTimeoutMs,
    bodyBytesMax,
    // Spelled out: copying an object's properties costs as much as all else here.
    template: headers.template,
    requestId: headers.requestId,
    requestEdits: headers.requestEdits,
    responseEdits: headers.responseEdits,
  }
}

const none: readonly number[] = []

/** As ModSecurity v3 answers a response beyond SecResponseBodyLimit with the action Reject. */
const tooLongStatus = 403

function rejectsLonger({ asked, transaction }: Exchange, { waf }: Edge): boolean {
  const hold = asked?.inspectResponse
  if (typeof hold === 'object') return hold.rejectsLonger
  return waf !== null && transaction !== null && waf.rejectsLongResponse(transaction)
}

function inspectResponse(exchange: Exchange, edge: Edge): 'none' | 'head' | ResponseHold {
  const { asked, transaction } = exchange
  if (asked !== null) return asked.inspectResponse
  const need =
    edge.waf === null || transaction === null ? 'none' : edge.waf.responseNeed(transaction)
  if (need !== 'body') return need
  return rejectsLonger(exchange, edge)
    ? { ...edge.responseHold, rejectsLonger: true }
    : edge.responseHold
}

function heldResponse({ asked }: Exchange, { responseHold }: Edge): ResponseHold {
  const hold = asked?.inspectResponse
  return typeof hold === 'object' ? hold : responseHold
}

/** The most of a body that is held; what is more is over the limit of route, WAF or rules. */
function heldBytesMax({ route, asked, transaction }: Exchange, { waf, unrouted }: Edge): number {
  const { inspectMaxBytes } = route?.inspection ?? unrouted
  const known = waf === null || transaction === null ? null : waf.requestBodyBytesMax(transaction)
  const ofRules = asked?.bodyBytesMax ?? known ?? Infinity
  return Math.min(inspectMaxBytes, route?.bodyBytesMax ?? Infinity, ofRules)
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
