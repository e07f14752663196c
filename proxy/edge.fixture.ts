/** A snapshot for tests: one route to an upstream of two endpoints, no WAF, every doubt refused. */
import { errorCodes } from './errors.ts'
import type { Route } from './route.ts'
import { Router } from './router.ts'
import type { Edge } from './serve.ts'
import { TrustedProxies } from './trust.ts'
import { balancer } from './upstream/balancer.fixture.ts'

const upstream = {
  name: 'u',
  connectTimeoutMs: 1,
  firstByteTimeoutMs: 2,
  idleTimeoutMs: 3,
}

/** The WAF is off, bodies up to 100 bytes. */
export const inspection = {
  mode: 'off',
  tuning: 0,
  inspectMaxBytes: 100,
  overInspectMax: 'reject',
  inspectOtherBodies: false,
  stream: false,
} as const

/** Serves `example.org`. */
export const route: Route = {
  name: 'r',
  hosts: ['example.org'],
  path: '/',
  upstream,
  inspection,
  bodyBytesMax: 1_000,
  websocket: true,
}

/** A fresh snapshot, with `changes`. */
export function edge(changes: Partial<Edge> = {}): Edge {
  return {
    listeners: ['http', 'https'],
    redirect: { enabled: false, httpsPort: 443 },
    router: new Router([route]),
    unrouted: inspection,
    waf: null,
    service: null,
    onFailure: 'deny',
    responseHold: { bytesMax: 0, rejectsLonger: false, mediaTypes: '' },
    policy: {
      refuse: {
        encodedSlash: true,
        dotSegments: true,
        nul: true,
        backslash: true,
        underscoreName: true,
        oddHost: true,
        fragment: true,
        unknownMethod: true,
        badEscape: true,
        controlOrNonAscii: true,
      },
      certificateNames: [],
    },
    trusted: new TrustedProxies([]),
    balancer: balancer(),
    errorCodes,
    ...changes,
  }
}
