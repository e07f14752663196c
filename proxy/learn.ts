/** What the end of an exchange says about endpoints: the passive half of health checking. */
import type { Outcome } from './batch.ts'
import type { ErrorCode } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { Balancer } from './upstream/balancer.ts'

/** Who learns, and the names of the wire's errors. */
export interface Around {
  readonly balancer: Balancer
  readonly errorCodes: readonly ErrorCode[]
}

/** What the outcome says about the endpoints that it names. */
export function learn(exchange: Exchange, outcome: Outcome, around: Around): void {
  const { balancer, errorCodes } = around
  const { endpoint, error, failedFirst, clientAborted, status } = outcome
  const isFault = (index: number): boolean => endpointFaults.has(errorCodes[index] ?? 'INTERNAL')
  if (failedFirst !== null && isFault(failedFirst.error)) {
    balancer.learn(failedFirst.endpoint, 'failure')
  }
  if (endpoint === null || exchange.route === null) return
  const { name } = exchange.route.upstream
  // A second attempt because a kept connection had gone is no new load, and not of the budget.
  if (failedFirst !== null) balancer.retried(name)
  if (error !== null) {
    if (isFault(error)) balancer.learn(endpoint, 'failure')
  } else if (!clientAborted) balancer.learn(endpoint, balancer.resultOf(name, status))
}

/** Errors that are the endpoint's and not the client's. */
const endpointFaults: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'UPSTREAM_CONNECT_FAILED',
  'UPSTREAM_CONNECT_TIMEOUT',
  'UPSTREAM_FIRST_BYTE_TIMEOUT',
  'UPSTREAM_IDLE_TIMEOUT',
  'UPSTREAM_INVALID_RESPONSE',
  'UPSTREAM_CLOSED',
  'UPSTREAM_TLS_FAILED',
])
