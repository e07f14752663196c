/** One request and its response, from its head to its outcome. Born fresh, owned by one worker. */
import type { ExchangeFacts } from '../waf/facts.ts'
import type { Transaction } from '../waf/transaction.ts'
import { type PageContext, denialProblem, page } from './block-page.ts'
import { type ErrorCode, responseFor } from './errors.ts'
import type { HeaderField, Plan, RespondPlan } from './plan.ts'
import { isGrpc } from './policy.ts'
import type { RequestHead } from './request.ts'
import type { Route } from './route.ts'
import type { EndpointLoad } from './upstream/endpoint-load.ts'
import type { Asked } from './waf-service/asking.ts'

/** How the WAF's part ended, as logs and metrics name it. */
export type WafResult = 'pass' | 'detect' | 'deny' | 'redirect' | 'failed'

/** What an exchange is born with. */
export interface ExchangeStart {
  readonly id: number
  readonly request: RequestHead
  readonly requestId: string
  readonly clientAddress: string
  readonly timeMs: number
}

export class Exchange {
  /** The wire's name for it in this worker. */
  readonly id: number
  readonly request: RequestHead
  readonly requestId: string
  readonly clientAddress: string
  readonly timeMs: number
  /** Null until the router ran, and when no route serves the request. */
  route: Route | null = null
  /** Null where the WAF is off. */
  transaction: Transaction | null = null
  /** Null where no service inspects it. */
  asked: Asked | null = null
  wafResult: WafResult = 'pass'
  error: ErrorCode | null = null
  /** Where it was sent first; given back at its end. */
  endpoint: EndpointLoad | null = null

  constructor(start: ExchangeStart) {
    this.id = start.id
    this.request = start.request
    this.requestId = start.requestId
    this.clientAddress = start.clientAddress
    this.timeMs = start.timeMs
  }

  /** Ends with an operating error. */
  fail(code: ErrorCode): Plan {
    this.error = code
    return this.answer(responseFor(code, this.#pageContext()))
  }

  /** Ends with the block page. */
  deny(status: number): Plan {
    const { headers, body } = page(denialProblem(status), this.#pageContext())
    return this.answer({ kind: 'respond', status, headers, body, close: false })
  }

  /** Ends with an answer of our own: every one of them names the request. */
  answer(plan: RespondPlan): Plan {
    const headers: HeaderField[] = [...plan.headers, ['x-request-id', this.requestId]]
    return { ...plan, headers }
  }

  #pageContext(): PageContext {
    return {
      requestId: this.requestId,
      timeMs: this.timeMs,
      accept: this.request.headerAll('accept').join(','),
      grpc: isGrpc(this.request),
    }
  }
}

const httpVersions = {
  'HTTP/1.0': '1.0',
  'HTTP/1.1': '1.1',
  'HTTP/2': '2',
  'HTTP/3': '3',
} as const

/** What the WAF is told; fields are cut out of the batch only if a rule or log wants them. */
export function factsOf(
  exchange: Exchange,
  hasBody: boolean,
  route = exchange.route?.name ?? '',
): ExchangeFacts {
  const { request } = exchange
  let headers: readonly HeaderField[] | null = null
  return {
    handle: exchange.id,
    uniqueId: exchange.requestId,
    timeMs: exchange.timeMs,
    clientAddress: exchange.clientAddress,
    clientPort: request.facts.peerPort,
    serverAddress: '',
    serverPort: request.facts.localPort,
    method: request.method,
    uri: request.facts.target,
    path: request.path,
    httpVersion: httpVersions[request.protocol],
    hostname: request.authority,
    get headers() {
      headers ??= request.headers()
      return headers
    },
    hasBody,
    route,
  }
}
