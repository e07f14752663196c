/** What the backend learns about the client, and both sides about this hop. */
import { randomUUIDv7 } from 'node:crypto'
import type { Exchange } from './exchange.ts'
import type { ForwardPlan, HeaderEdit } from './plan.ts'
import type { RequestHead } from './request.ts'
import type { TrustedProxies } from './trust.ts'
import type { HeaderTemplate } from './wire-config.ts'

// Ends up in logs, pages and backends, so it may hold nothing that any of them would take apart.
const requestIdShape = /^[A-Za-z0-9._~+/=:@-]{1,128}$/

/** The request's id: a trusted peer's own when it is one, else a new one. */
export function requestIdOf(request: RequestHead, trusted: TrustedProxies): string {
  if (trusted.has(request.peer)) {
    const given = request.header('x-request-id')
    if (given !== null && requestIdShape.test(given)) return given
  }
  return randomUUIDv7()
}

/** The part of a forward plan that `forwarding.ts` decides. */
export type ForwardedHeaders = Pick<
  ForwardPlan,
  'template' | 'requestId' | 'requestEdits' | 'responseEdits'
>

const responseTemplate: readonly HeaderEdit[] = [
  set('x-request-id', '%{request-id}'),
  { op: 'append', name: 'via', value: '1.1 edge' },
]

/** What every request is told about this hop. */
const hop: readonly HeaderEdit[] = [
  set('x-request-id', '%{request-id}'),
  // RFC 9110 §7.6.3: one member for each hop, in order; what came before stays before.
  { op: 'append', name: 'via', value: '%{version} edge' },
  // A trusted peer's would end before this hop, and so contradict X-Forwarded-For.
  { op: 'remove', name: 'forwarded' },
]

/**
 * Nearly every request: its peer is nobody whom we trust, so nothing of what it says about itself
 * survives. The wire fills it in: spelling it out in every plan was half of a worker's time.
 */
const untrustedTemplate: HeaderTemplate = {
  request: [
    set('x-forwarded-for', '%{peer}'),
    set('x-forwarded-proto', '%{scheme}'),
    set('x-forwarded-host', '%{authority}'),
    set('x-forwarded-port', '%{local-port}'),
    set('x-real-ip', '%{peer}'),
    ...hop,
  ],
  response: responseTemplate,
}

/** A trusted peer's: what it says about the client stays, so the plan spells that out. */
const trustedTemplate: HeaderTemplate = { request: hop, response: responseTemplate }

/** The templates as plans count them, from 1. */
export const headerTemplates: readonly HeaderTemplate[] = [untrustedTemplate, trustedTemplate]

const noEdits: readonly HeaderEdit[] = []
// RFC 8470 §5.1: so that the backend may refuse what it does not want to see replayed.
const earlyEdits = [set('early-data', '1')]

/**
 * What the request and its response are told about the client and this hop; `cookie` is that of a
 * client that was given a new endpoint.
 */
export function forwardedHeaders(
  { request, requestId }: Pick<Exchange, 'request' | 'requestId'>,
  trusted: TrustedProxies,
  cookie: string | null,
): ForwardedHeaders {
  const early = request.early ? earlyEdits : noEdits
  const responseEdits: readonly HeaderEdit[] =
    cookie === null ? noEdits : [{ op: 'append', name: 'set-cookie', value: cookie }]
  if (!trusted.has(request.peer)) {
    return { template: 1, requestId, requestEdits: early, responseEdits }
  }
  const said = (name: string, ours: string): HeaderEdit => set(name, request.header(name) ?? ours)
  const requestEdits = [
    set('x-forwarded-for', list([...request.headerAll('x-forwarded-for'), request.peer])),
    said('x-forwarded-proto', request.tls ? 'https' : 'http'),
    said('x-forwarded-host', request.authority),
    said('x-forwarded-port', String(request.facts.localPort)),
    set('x-real-ip', trusted.clientOf(request)),
  ]
  return { template: 2, requestId, requestEdits: [...early, ...requestEdits], responseEdits }
}

function list(members: readonly string[]): string {
  return members.filter((member) => member !== '').join(', ')
}

function set(name: string, value: string): HeaderEdit {
  return { op: 'set', name, value }
}
