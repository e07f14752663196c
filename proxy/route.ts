/** Routes and upstreams as workers use them: the configuration's, joined and numbered. */
import assert from 'node:assert'
import type { WafMode } from '../waf/verdict.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { RouteMatch } from './router.ts'
import { tuningsOf } from './tuning.ts'

export interface Route extends RouteMatch {
  readonly name: string
  readonly upstream: Upstream
  readonly inspection: InspectionPolicy
  readonly bodyBytesMax: number | null
  /** Whether WebSockets may be opened. */
  readonly websocket: boolean
}

/** How much of an exchange the WAF sees, and what it may do. */
export interface InspectionPolicy {
  readonly mode: WafMode
  /** Which of `tuningsOf(config)` holds. */
  readonly tuning: number
  readonly inspectMaxBytes: number
  readonly overInspectMax: 'reject' | 'stream'
  readonly inspectOtherBodies: boolean
  /** Bodies are never held: the WAF judges by the head alone. */
  readonly stream: boolean
}

export interface Upstream {
  readonly name: string
  readonly connectTimeoutMs: number
  readonly firstByteTimeoutMs: number
  readonly idleTimeoutMs: number
}

// What nobody routes is answered with 404 anyway: enough is read to see and log an attack.
const unroutedInspectMaxBytes = 131_072

/** How a request is inspected that no route serves: under the global mode. */
export function unroutedInspection(config: EdgeConfig): InspectionPolicy {
  return {
    mode: config.waf.mode,
    tuning: 0,
    inspectMaxBytes: unroutedInspectMaxBytes,
    overInspectMax: 'stream',
    inspectOtherBodies: false,
    stream: false,
  }
}

/** The configuration's routes, each with its upstream at hand. */
export function routesOf(config: EdgeConfig): Route[] {
  const { ofRoute } = tuningsOf(config)
  return config.routes.map((route, index) => {
    const upstream = config.upstreams.find(({ name }) => name === route.upstream)
    assert(upstream !== undefined, `route ${route.name} names no upstream`)
    return {
      name: route.name,
      hosts: route.hosts,
      path: route.path,
      upstream,
      bodyBytesMax: route.bodyBytesMax,
      websocket: route.websocket,
      inspection: {
        // Off for the whole program is off for every route: the flag is the operator's last word.
        mode: config.waf.mode === 'off' ? 'off' : route.waf.mode,
        tuning: ofRoute[index] ?? 0,
        inspectMaxBytes: route.inspectMaxBytes,
        overInspectMax: route.overInspectMax,
        inspectOtherBodies: route.inspectOtherBodies,
        stream: route.stream,
      },
    }
  })
}
