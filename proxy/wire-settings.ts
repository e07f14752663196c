/** From the configuration to what the wire threads are told. */
import type { EdgeConfig } from './config/schema.ts'
import { errorCodes, responseFor } from './errors.ts'
import { headerTemplates } from './forwarding.ts'
import { hostPortOf } from './host-port.ts'
import type { ErrorAnswer, ServiceConfig, WireConfig, WireListener } from './wire-config.ts'

/** Where probes ask; before redirect and WAF. */
export const healthPath = '/_gwhealthz'

/** The whole configuration of the wire. */
export function wireConfigOf(config: EdgeConfig): WireConfig {
  return {
    threads: config.wireThreads,
    workers: config.waf.workers,
    listeners: listenersOf(config),
    sharedPorts: config.listen.shared,
    healthPath,
    limits: config.limits,
    errors: errorAnswers(),
    templates: headerTemplates,
    earlyData: config.tls.earlyData,
    quicServerId: config.quic.serverId,
    neighbours: neighboursOf(config),
    // The names are looked up later, and the secret is read then.
    service: serviceConfigOf(config, [], ''),
  }
}

/** The listeners, in the order in which records count them. */
export function listenersOf({ listen }: EdgeConfig): WireListener[] {
  const listeners: WireListener[] = []
  if (listen.http !== null) {
    listeners.push({ name: 'http', kind: 'http', address: listen.http, altSvc: '' })
  }
  if (listen.https !== null) {
    const port = listen.advertiseHttpsPort ?? hostPortOf(listen.https).port
    const altSvc = `h3=":${port}"; ma=86400`
    listeners.push({ name: 'https', kind: 'https', address: listen.https, altSvc })
  }
  return listeners
}

/** What both ends of the WAF service's connections are told. */
export function serviceConfigOf(
  { waf }: EdgeConfig,
  addresses: readonly string[],
  secret: string,
): ServiceConfig {
  const { timeoutMs, inFlightMax, frameBytesMax, stateTimeoutMs } = waf.service
  return { addresses, timeoutMs, inFlightMax, frameBytesMax, stateTimeoutMs, secret }
}

function neighboursOf({ quic }: EdgeConfig): WireConfig['neighbours'] {
  const { listen, address } = quic.neighbours
  return listen === null ? null : { listen, address }
}

/** A ready answer for every error, for requests that no worker sees. */
function errorAnswers(): ErrorAnswer[] {
  // The wire answers without asking: no request id, no negotiation, so plain text.
  const context = { requestId: '', timeMs: 0, accept: '', grpc: false }
  return errorCodes.map((code) => {
    const { status, headers, body } = responseFor(code, context)
    return { code, status, headers, body }
  })
}
