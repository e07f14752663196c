/** What the end of an exchange says about endpoints: the passive half of health checking. */
import type { Outcome } from './batch.ts'
import type { ErrorCode } from './errors.ts'
import type { Exchange } from './exchange.ts'
import type { Balancer, Result } from './upstream/balancer.ts'

/** Who learns, and the names of the wire's errors. */
export interface Around {
  readonly balancer: Balancer
  readonly errorCodes: readonly ErrorCode[]
}

/** What the outcome says about the endpoints that it names. */
export function learn(exchange: Exchange, outcome: Outcome, around: Around): void {
  const { balancer, errorCodes } = around
  const { endpoint, error, failedFirst, clientAborted, status } = outcome
  const resultOf = (index: number): Result | null =>
    results[errorCodes[index] ?? 'INTERNAL'] ?? null
  const first = failedFirst === null ? null : resultOf(failedFirst.error)
  if (failedFirst !== null && first !== null) balancer.learn(failedFirst.endpoint, first)
  if (endpoint === null || exchange.route === null) return
  const { name } = exchange.route.upstream
  // A second attempt because a kept connection had gone, or because none came about, is no new
  // load, and not of the budget.
  if (failedFirst !== null && first !== 'unreachable') balancer.retried(name)
  if (error !== null) {
    const result = resultOf(error)
    if (result !== null) balancer.learn(endpoint, result)
  } else if (!clientAborted) balancer.learn(endpoint, balancer.resultOf(name, status))
}

/** Errors that are the endpoint's and not the client's, and what they say about it. */
const results: Partial<Record<ErrorCode, Result>> = {
  UPSTREAM_CONNECT_FAILED: 'unreachable',
  UPSTREAM_CONNECT_TIMEOUT: 'unreachable',
  UPSTREAM_FIRST_BYTE_TIMEOUT: 'failure',
  UPSTREAM_IDLE_TIMEOUT: 'failure',
  UPSTREAM_INVALID_RESPONSE: 'failure',
  UPSTREAM_CLOSED: 'failure',
  UPSTREAM_TLS_FAILED: 'unreachable',
}
