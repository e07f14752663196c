/** Every operating error: side, status, whether a retry is safe. Only this file picks a status. */
import { type PageContext, page } from './block-page.ts'
import type { RespondPlan } from './plan.ts'

export interface ErrorKind {
  readonly side: 'downstream' | 'upstream' | 'internal'
  readonly status: number
  /** When the same request may be sent again without being carried out twice. */
  readonly retry: 'never' | 'reused-connection' | 'before-bytes'
  /** What the client reads; says nothing about what is behind this proxy. */
  readonly title: string
}

/** In the order of the wire's `ErrorCode`; the wire reports indexes, `wire.ts` compares names. */
export const errors = {
  BAD_REQUEST: down(400, 'The request is not valid HTTP.'),
  HEADER_TOO_LARGE: down(431, 'The request headers are too large.'),
  HEADER_TIMEOUT: down(408, 'The request headers took too long.'),
  URI_TOO_LONG: down(414, 'The request address is too long.'),
  VERSION_NOT_SUPPORTED: down(505, 'This HTTP version is not supported.'),
  REQUEST_BODY_TOO_LARGE: down(413, 'The request body is too large.'),
  REQUEST_BODY_INCOMPLETE: down(400, 'The request body ended early.'),
  REQUEST_BODY_TIMEOUT: down(408, 'The request body took too long.'),
  BODY_BUDGET_EXHAUSTED: inside(503, 'The server is busy.'),
  EXPECTATION_FAILED: down(417, 'The expectation cannot be met.'),
  TOO_MANY_CONNECTIONS: inside(503, 'The server is busy.'),
  WAF_UNAVAILABLE: inside(503, 'The request could not be inspected.'),
  WAF_QUEUE_FULL: inside(503, 'The server is busy.'),
  WAF_POISON: inside(503, 'The request could not be inspected.'),
  UPSTREAM_CONNECT_FAILED: up(502, 'before-bytes', 'The site cannot be reached.'),
  UPSTREAM_CONNECT_TIMEOUT: up(504, 'before-bytes', 'The site cannot be reached in time.'),
  UPSTREAM_FIRST_BYTE_TIMEOUT: up(504, 'never', 'The site did not answer in time.'),
  UPSTREAM_IDLE_TIMEOUT: up(504, 'never', 'The site stopped answering.'),
  UPSTREAM_INVALID_RESPONSE: up(502, 'never', 'The site gave an invalid answer.'),
  UPSTREAM_CLOSED: up(502, 'reused-connection', 'The site closed the connection.'),
  CLIENT_ABORTED: down(499, 'The client went away.'),
  INTERNAL: inside(500, 'Something went wrong here.'),
  NO_SUCH_ENDPOINT: inside(503, 'The site cannot be reached.'),
  UPGRADE_NOT_SUPPORTED: down(501, 'This upgrade is not supported.'),
  CONTENT_REFUSED: down(400, 'The request was refused.'),
  NO_ROUTE: down(404, 'There is nothing here.'),
  MISDIRECTED_REQUEST: down(421, 'This connection does not serve that host.'),
  WAF_BUDGET_EXCEEDED: inside(503, 'The request could not be inspected in time.'),
  TRAILERS_TOO_LARGE: down(431, 'The request trailers are too large.'),
  REQUEST_TOO_SLOW: down(408, 'The request body came too slowly.'),
  ADDRESS_CONNECTIONS_EXCEEDED: inside(503, 'There are too many connections from this address.'),
  HANDSHAKE_TIMEOUT: down(408, 'The TLS handshake took too long.'),
  PROTOCOL_VIOLATION: down(400, 'The connection broke the rules of its protocol.'),
  STREAM_RESETS_EXCEEDED: down(429, 'Too many requests were cancelled.'),
  CONTROL_FRAMES_EXCEEDED: down(429, 'Too many control frames were sent.'),
  CONNECTION_BYTES_EXCEEDED: down(431, 'The connection holds too much memory.'),
  TOO_EARLY: down(425, 'The request must be sent again after the handshake.'),
  NO_HEALTHY_ENDPOINT: inside(503, 'The site cannot be reached.'),
  UPSTREAM_TLS_FAILED: up(502, 'before-bytes', 'The site cannot be reached safely.'),
  WAF_SERVICE_UNAVAILABLE: inside(503, 'The request could not be inspected.'),
  WAF_SERVICE_TIMEOUT: inside(503, 'The request could not be inspected in time.'),
  WAF_RULES_UNKNOWN: inside(503, 'The request could not be inspected.'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errors

/** All codes in the order of the table. */
export const errorCodes: readonly ErrorCode[] = Object.keys(errors).filter(
  (name): name is ErrorCode => name in errors,
)

/** An operating error on its way to `responseFor`. */
export class ProxyError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, options?: ErrorOptions) {
    super(`${code}: ${errors[code].title}`, options)
    this.name = 'ProxyError'
    this.code = code
  }
}

/** The answer for an error: the only place that turns errors into status codes. */
export function responseFor(code: ErrorCode, context: PageContext): RespondPlan {
  const { status, title } = errors[code]
  const content = page({ status, title, code }, context)
  const headers = [...content.headers]
  // 503 here always means "busy for a moment", never a planned outage.
  if (status === 503) headers.push(['retry-after', '1'])
  return { kind: 'respond', status, headers, body: content.body, close: false }
}

function down(status: number, title: string): ErrorKind {
  return { side: 'downstream', status, retry: 'never', title }
}

function up(status: number, retry: ErrorKind['retry'], title: string): ErrorKind {
  return { side: 'upstream', status, retry, title }
}

function inside(status: number, title: string): ErrorKind {
  return { side: 'internal', status, retry: 'before-bytes', title }
}
