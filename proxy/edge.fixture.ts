/** A snapshot for tests: one route to an upstream of two endpoints, no WAF, every doubt refused. */
import { errorCodes } from './errors.ts'
import type { Route } from './route.ts'
import { Router } from './router.ts'
import type { Edge } from './serve.ts'
import { TrustedProxies } from './trust.ts'
import { Balancer } from './upstream/balancer.ts'

const upstream = {
  name: 'u',
  endpoints: [4, 5],
  urls: ['http://a:1', 'http://b:1'],
  connectTimeoutMs: 1,
  firstByteTimeoutMs: 2,
  idleTimeoutMs: 3,
}

/** The WAF is off, bodies up to 100 bytes. */
export const inspection = {
  mode: 'off',
  inspectMaxBytes: 100,
  overInspectMax: 'reject',
  inspectOtherBodies: false,
} as const

/** Serves `example.org`. */
export const route: Route = {
  name: 'r',
  hosts: ['example.org'],
  path: '/',
  upstream,
  inspection,
  bodyBytesMax: 1_000,
}

/** A fresh snapshot, with `changes`. */
export function edge(changes: Partial<Edge> = {}): Edge {
  return {
    listeners: ['http', 'https'],
    redirect: { enabled: false, httpsPort: 443 },
    router: new Router([route]),
    unrouted: inspection,
    waf: null,
    onFailure: 'deny',
    responseInspectMaxBytes: 0,
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
    balancer: new Balancer([upstream], 0),
    errorCodes,
    ...changes,
  }
}
