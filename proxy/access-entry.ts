/** From an exchange and its outcome to what log, metrics and events tell about it. */
import type { Transaction } from '../waf/transaction.ts'
import type { AccessEntry, WafEntry } from './access-log.ts'
import type { Outcome, WireRefusal } from './batch.ts'
import type { ErrorCode } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { protocolOf } from './request.ts'
import type { Balancer } from './upstream/balancer.ts'
import type { Told } from './waf-service/protocol.ts'

// A request may match hundreds of rules; the audit log has them all.
const rulesMax = 64

/** Where the names behind indexes are. */
export interface Names {
  /** By the wire's index. */
  readonly listeners: readonly string[]
  readonly balancer: Pick<Balancer, 'urlOf'>
}

/** One entry. */
export function accessEntry(exchange: Exchange, outcome: Outcome, names: Names): AccessEntry {
  const { request } = exchange
  const { facts } = request
  return {
    timeMs: exchange.timeMs,
    requestId: exchange.requestId,
    listener: names.listeners[facts.listener] ?? '',
    protocol: request.protocol,
    method: facts.method,
    scheme: request.tls ? 'https' : 'http',
    authority: facts.authority,
    path: facts.path,
    query: facts.query,
    userAgent: request.header('user-agent') ?? '',
    peer: facts.peer,
    peerPort: facts.peerPort,
    client: exchange.clientAddress,
    route: exchange.route?.name ?? null,
    status: outcome.status,
    error: exchange.error,
    requestBodyBytes: outcome.requestBodyBytes,
    responseBodyBytes: outcome.responseBodyBytes,
    durationUs: outcome.durationUs,
    upstream: upstreamOf(exchange, outcome, names),
    waf: wafOf(exchange),
  }
}

/** A request that the wire refused: nothing of it is known but its first line. */
export function refusalEntry(
  refusal: WireRefusal,
  known: { readonly listener: string; readonly error: ErrorCode; readonly requestId: string },
  timeMs: number,
): AccessEntry {
  const [method = '', target = ''] = refusal.line.split(' ')
  const [path = '', query = ''] = target.split('?', 2)
  return {
    timeMs,
    requestId: known.requestId,
    listener: known.listener,
    protocol: protocolOf(refusal.protocol) ?? '',
    method,
    scheme: known.listener === 'https' ? 'https' : 'http',
    authority: '',
    path,
    query,
    userAgent: '',
    peer: refusal.peer,
    peerPort: refusal.peerPort,
    client: refusal.peer,
    route: null,
    status: refusal.status,
    error: known.error,
    requestBodyBytes: 0,
    responseBodyBytes: 0,
    durationUs: 0,
    upstream: null,
    waf: null,
  }
}

function upstreamOf(
  exchange: Exchange,
  outcome: Outcome,
  { balancer }: Names,
): AccessEntry['upstream'] {
  const upstream = exchange.route?.upstream
  // An orphan's plan was made by a worker that is gone; the outcome still names the endpoint.
  const endpoint = outcome.endpoint ?? exchange.endpoint?.id ?? null
  if (upstream === undefined || endpoint === null) return null
  return {
    name: upstream.name,
    endpoint: balancer.urlOf(endpoint),
    attempts: outcome.attempts,
    firstByteUs: outcome.upstreamFirstByteUs,
  }
}

function wafOf({ asked, transaction, wafResult }: Exchange): WafEntry | null {
  const mode = asked?.mode ?? transaction?.mode
  if (mode === undefined) return null
  const { rules, score } = asked === null ? toldBy(transaction) : (asked.told ?? nothingTold)
  return {
    mode,
    // In blocking mode a match below the threshold is every second request of some clients.
    verdict: wafResult === 'pass' && mode === 'detect' && rules.length > 0 ? 'detect' : wafResult,
    score,
    rules: rules.slice(0, rulesMax),
  }
}

const nothingTold = { rules: [], score: 0 }

function toldBy(transaction: Transaction | null): Pick<Told, 'rules' | 'score'> {
  if (transaction === null) return nothingTold
  return { rules: transaction.matchedIds, score: transaction.scores.inbound }
}
