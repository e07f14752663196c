/** What is refused although the WAF let it through, and which bodies are read before it. */
import type { ErrorCode } from './errors.ts'
import { type Doubt, type RequestHead, doubtBits } from './request.ts'
import { hostOf } from './router.ts'

/** The parts of the configuration that decide here. */
export interface ContentPolicy {
  readonly refuse: Readonly<Record<Doubt, boolean>>
  /** Lower-case names of each certificate, in the order of the wire's set. */
  readonly certificateNames: readonly (readonly string[])[]
}

/** The part of a route that says what to do with bodies. */
export interface BodyPolicy {
  readonly inspectOtherBodies: boolean
  readonly stream: boolean
}

const anyDoubt = Object.values(doubtBits).reduce((all, bit) => all | bit, 0)

const doubts: readonly Doubt[] = Object.keys(doubtBits).filter(
  (name): name is Doubt => name in doubtBits,
)

/** The error for a request that the WAF passed but the policy does not; null to go on. */
export function refusal(request: RequestHead, policy: ContentPolicy): ErrorCode | null {
  if (misdirected(request, policy)) return 'MISDIRECTED_REQUEST'
  // One test for the many requests about which there is no doubt at all.
  if ((request.facts.flags & anyDoubt) === 0) return null
  return refusesDoubts(request.facts.flags, policy.refuse) ? 'CONTENT_REFUSED' : null
}

/** Whether one of the doubts in a head's flags is refused. */
export function refusesDoubts(flags: number, refuse: ContentPolicy['refuse']): boolean {
  return doubts.some((doubt) => refuse[doubt] && (flags & doubtBits[doubt]) !== 0)
}

/**
 * RFC 9110 §15.5.20. Only a certificate that SNI selected binds the connection to its names: many
 * probes and old clients send no SNI at all, and get the default certificate.
 */
function misdirected(request: RequestHead, policy: ContentPolicy): boolean {
  if (request.certificate === null) return false
  const host = hostOf(request.authority)
  if (host === '') return false
  const names = policy.certificateNames[request.certificate] ?? []
  return !names.some((name) => covers(name, host))
}

/** RFC 6125 §6.4.3: `*.example.org` covers one label, never two. */
function covers(name: string, host: string): boolean {
  if (!name.startsWith('*.')) return name === host
  const dot = host.indexOf('.')
  return dot > 0 && host.slice(dot) === name.slice(1)
}

/** What of a request says whether its body is inspected. */
export type BodyFacts = Pick<RequestHead, 'hasBody' | 'websocket' | 'headerAll'>

/** Whether the body is held for the WAF, or streamed past it. */
export function inspectsBody(request: BodyFacts, policy: BodyPolicy): boolean {
  if (!request.hasBody || policy.stream || request.websocket) return false
  // Of two Content-Type fields nobody knows which one the backend takes: any of them counts.
  const types = request.headerAll('content-type').map(mediaType)
  // gRPC streams: its messages are framed, and a call may last for hours. Its `+json` is no JSON.
  if (types.length > 0 && types.every((type) => type.startsWith('application/grpc'))) return false
  return policy.inspectOtherBodies || types.some(isParsed)
}

/**
 * RFC 8470 §5.2: early data may be a replay, so only a request that changes nothing is served from
 * it. A query is where applications hide actions behind GET: those wait for the handshake, too.
 */
export function isTooEarly(request: RequestHead): boolean {
  if (!request.early) return false
  return !safeMethods.has(request.method) || request.hasQuery || request.hasBody
}

// RFC 9110 §9.2.1, without TRACE, which no edge should pass on from early data.
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whether the request is a gRPC call. */
export function isGrpc(request: RequestHead): boolean {
  return mediaType(request.header('content-type') ?? '').startsWith('application/grpc')
}

/** The kinds of body that the WAF takes apart. */
function isParsed(type: string): boolean {
  return (
    type === 'application/x-www-form-urlencoded' ||
    type.startsWith('multipart/') ||
    type === 'application/json' ||
    type.endsWith('+json') ||
    type === 'text/json' ||
    type === 'application/xml' ||
    type === 'text/xml' ||
    type.endsWith('+xml')
  )
}

function mediaType(contentType: string): string {
  const end = contentType.indexOf(';')
  return (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}
