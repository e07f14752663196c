/**
 * What the main thread hands the wire threads as JSON. Every decision in it was made in TypeScript.
 */
import type { HeaderEdit } from './plan.ts'

export interface WireListener {
  readonly name: string
  /** `http`: h1 in clear. `https`: h1 and h2 over TLS on TCP, h3 on UDP of the same port.
   * `waf`: questions of proxies, in `edge waf serve`. */
  readonly kind: 'http' | 'https' | 'waf'
  /** `0.0.0.0:8443`, `[::]:443`, `127.0.0.1:0`. */
  readonly address: string
  /** Value of Alt-Svc on every TCP response of this listener; '' for none. */
  readonly altSvc: string
}

/** A complete answer for a code of the error table, so that the wire picks no status itself. */
export interface ErrorAnswer {
  readonly code: string
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

export interface WireLimits {
  readonly headerBytesMax: number
  readonly headerLineBytesMax: number
  readonly headerCountMax: number
  readonly headerTimeoutMs: number
  readonly handshakeTimeoutMs: number
  readonly keepAliveIdleTimeoutMs: number
  readonly bodyIdleTimeoutMs: number
  readonly requestsPerConnectionMax: number
  readonly connectionsMax: number
  readonly h2StreamsMax: number
  readonly quicStreamsMax: number
  readonly quicIdleTimeoutMs: number
  /** Bytes of request and response bodies held for inspection, over all exchanges. */
  readonly inspectedBodiesBytesMax: number
  /** Exchanges waiting for one worker; beyond it: WAF_QUEUE_FULL. */
  readonly workerQueueMax: number
  /** How long an exchange may wait for a worker in all before WAF_UNAVAILABLE. */
  readonly workerWaitTimeoutMs: number
  readonly upstreamIdleTimeoutMs: number
  readonly upstreamIdleConnectionsMax: number
  readonly trailerCountMax: number
  readonly trailerBytesMax: number
  readonly bodyRateBytesMin: number
  readonly bodyRateGraceMs: number
  readonly connectionAgeMaxMs: number
  readonly connectionsPerAddressMax: number
  readonly connectionBytesMax: number
  readonly pressurePercent: number
  readonly keepAliveIdleTimeoutUnderPressureMs: number
  readonly streamsMaxUnderPressure: number
  readonly h2StreamWindowBytes: number
  readonly h2ConnectionWindowBytes: number
  readonly streamResetsMax: number
  readonly streamResetsPerSecond: number
  readonly controlFramesMax: number
  readonly controlFramesPerSecond: number
  readonly quicRetryFrom: number
  readonly quicHandshakesMax: number
  readonly quicHandshakesPerAddressMax: number
}

/** Edits that a forward plan names instead of spelling them out; see `forwarding.ts`. */
export interface HeaderTemplate {
  readonly request: readonly HeaderEdit[]
  readonly response: readonly HeaderEdit[]
}

/** What a proxy is told about the WAF service, and the service about itself. */
export interface ServiceConfig {
  /** Resolved socket addresses; none in the service, and where this program inspects by itself. */
  readonly addresses: readonly string[]
  readonly timeoutMs: number
  readonly inFlightMax: number
  readonly frameBytesMax: number
  readonly stateTimeoutMs: number
  /** '' when anyone may ask. */
  readonly secret: string
}

export interface WireConfig {
  readonly threads: number
  readonly workers: number
  readonly listeners: readonly WireListener[]
  /** Whether a second program may take over or join the ports. */
  readonly sharedPorts: boolean
  readonly healthPath: string
  readonly limits: WireLimits
  readonly errors: readonly ErrorAnswer[]
  /** Plans count them from 1. */
  readonly templates: readonly HeaderTemplate[]
  readonly service: ServiceConfig
  /** QUIC clients may send requests before the handshake is done (RFC 8470). */
  readonly earlyData: boolean
  /** The 8 bytes by which a balancer finds this program in connection ids. */
  readonly quicServerId: readonly number[] | null
  /** Where other edges of this node hand over QUIC packets; null: they cannot. */
  readonly neighbours: {
    readonly listen: string
    /** The address that they reach; null: that of `listen`. */
    readonly address: string | null
  } | null
}

/** By what other edges of this node are known, and where they are met. */
export interface Acquaintance {
  /** 32 bytes, in base64. */
  readonly key: string
  /** Socket addresses, each of which leads to any of them. */
  readonly meet: readonly string[]
}

export interface CertificateSet {
  readonly certificates: readonly {
    /** What records call it; connections outlive sets, so equal names keep their id. */
    readonly id: number
    /** PEM chain and key. */
    readonly chain: string
    readonly key: string
    /** Lower-case DNS names (`*.example.org` allowed) that select it by SNI. */
    readonly names: readonly string[]
    /** Serves connections without SNI or with an unknown name. Exactly one. */
    readonly isDefault: boolean
  }[]
}

/** Keys that several programs may share, in base64. */
export interface TicketKeySet {
  /** Of session tickets, 48 bytes each: the first one seals, all open. None: keys of its own. */
  readonly tickets: readonly string[]
}

/** How an endpoint's TLS is verified. */
export interface EndpointTls {
  /** SNI, and the name that the certificate must have. */
  readonly serverName: string
  /** PEM of the trusted authorities; never empty while `verify` is on. */
  readonly trusted: string
  readonly verify: boolean
  /** PEM of the client certificate and its key; '' for none. */
  readonly clientChain: string
  readonly clientKey: string
}

export interface EndpointConfig {
  readonly id: number
  /** Resolved socket addresses, tried in order. */
  readonly addresses: readonly string[]
  /** `auto`: over TLS what ALPN selects, in clear HTTP/1.1. `http2` in clear: prior knowledge. */
  readonly protocol: 'http1' | 'http2' | 'auto'
  /** Null: in clear. */
  readonly tls: EndpointTls | null
  /** Path of the socket of the agent that dials it; absent: the system does. */
  readonly via?: string
}
