/** What the backend learns about the client, and both sides about this hop. */
import { randomUUIDv7 } from 'node:crypto'
import type { HeaderEdit } from './plan.ts'
import type { Protocol, RequestHead } from './request.ts'
import type { TrustedProxies } from './trust.ts'

const viaNames: Record<Protocol, string> = {
  'HTTP/1.0': '1.0 edge',
  'HTTP/1.1': '1.1 edge',
  'HTTP/2': '2 edge',
  'HTTP/3': '3 edge',
}

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

/** Edits of the request head. What an untrusted peer says of the client does not survive. */
export function requestEdits(
  request: RequestHead,
  trusted: TrustedProxies,
  requestId: string,
): HeaderEdit[] {
  const scheme = request.tls ? 'https' : 'http'
  const port = String(request.facts.localPort)
  const fromTrusted = trusted.has(request.peer)
  const kept = (name: string, ours: string): string =>
    (fromTrusted ? request.header(name) : null) ?? ours
  const edits: HeaderEdit[] = [
    set('x-forwarded-for', fromTrusted ? joined(request, 'x-forwarded-for') : request.peer),
    set('x-forwarded-proto', kept('x-forwarded-proto', scheme)),
    set('x-forwarded-host', kept('x-forwarded-host', request.authority)),
    set('x-forwarded-port', kept('x-forwarded-port', port)),
    set('x-real-ip', trusted.clientOf(request)),
    set('x-request-id', requestId),
    // RFC 9110 §7.6.3: one member for each hop, in order.
    set('via', list([...request.headerAll('via'), viaNames[request.protocol]])),
  ]
  // A trusted peer's Forwarded would end before this hop, and so contradict X-Forwarded-For.
  edits.push({ op: 'remove', name: 'forwarded' })
  // RFC 8470 §5.1: so that the backend may refuse what it does not want to see replayed.
  if (request.early) edits.push(set('early-data', '1'))
  return edits
}

/** Edits of every response that a backend gave. */
export function responseEdits(requestId: string, cookie: string | null): HeaderEdit[] {
  const edits: HeaderEdit[] = [
    set('x-request-id', requestId),
    { op: 'append', name: 'via', value: '1.1 edge' },
  ]
  if (cookie !== null) edits.push({ op: 'append', name: 'set-cookie', value: cookie })
  return edits
}

function joined(request: RequestHead, name: string): string {
  return list([...request.headerAll(name), request.peer])
}

function list(members: readonly string[]): string {
  return members.filter((member) => member !== '').join(', ')
}

function set(name: string, value: string): HeaderEdit {
  return { op: 'set', name, value }
}
