/** The edge under the CRS's regression cases, and the ways that lead to it. */
import { fileURLToPath } from 'node:url'
import { LogTail } from '../../../proxy/regression/log-tail.ts'
import { serverTarget } from '../../../proxy/regression/server-target.ts'
import type { Target } from '../../../proxy/regression/run.ts'
import {
  type Transport,
  h1Transport,
  h2Transport,
  refusedIs400,
} from '../../../proxy/regression/transports.ts'
import { asFields } from '../../../proxy/regression/wire-request.ts'
import { type Backend, startBackend } from '../../harness/backend.ts'
import { type RunningEdge, crsDirectory, startEdge } from '../../harness/edge.ts'
import { startWafService } from '../../harness/waf-service.ts'
import { H3Client } from '../../harness/h3.ts'

/** What a case may travel by. */
export const protocols = ['h1', 'h2', 'h3'] as const
export type Protocol = (typeof protocols)[number]

/** The settings that the cases presume; `edge waf test --crs` has them, too. */
const setup = fileURLToPath(new URL('../../../proxy/regression/crs-cases.conf', import.meta.url))

/** Our overrides of the cases. */
export const overridesFile = fileURLToPath(new URL('../crs-overrides.yaml', import.meta.url))

/** A running edge with its backend. */
export interface ConformanceEdge {
  readonly edge: RunningEdge
  readonly backend: Backend
  stop(): Promise<void>
}

/** Who inspects: the edge itself, or a service that it asks. */
export type Inspector = 'embedded' | 'service'

/** An edge in detection mode. Null when the CRS is not there. */
export async function startConformanceEdge(
  inspector: Inspector = 'embedded',
): Promise<ConformanceEdge | null> {
  const crs = crsDirectory()
  if (crs === null) return null
  const backend = await startBackend()
  const rules = ['--rules', crs, '--waf-setup', setup]
  // Cases that a busy machine answers late are not what is tested here.
  const environment = { EDGE_WAF_SERVICE_TIMEOUT: '10s' }
  const service = inspector === 'embedded' ? null : await startWafService(rules, { environment })
  const asked = service === null ? [] : ['--waf-service', `127.0.0.1:${service.port}`]
  const flags = ['--backend', backend.url, '--no-redirect', '--waf', 'detect', ...rules, ...asked]
  // Level 4 is compiled anew, on a machine that may be busy.
  const readyTimeoutMs = 100_000
  const edge = await startEdge({ arguments: flags, environment, readyTimeoutMs })
  const stop = async (): Promise<void> => {
    await edge.stop()
    await service?.stop()
    backend.close()
  }
  return { edge, backend, stop }
}

/** The edge as a target, by its log. */
export function edgeTarget(edge: RunningEdge, protocol: Protocol): Target {
  return serverTarget(transportOf(edge, protocol), new LogTail(edge.wafLog))
}

function transportOf({ httpPort, httpsPort }: RunningEdge, protocol: Protocol): Transport {
  if (protocol === 'h1') return h1Transport({ host: '127.0.0.1', port: httpPort, tls: false })
  // The name that the edge's own certificate has.
  if (protocol === 'h2') return h2Transport({ host: 'localhost', port: httpsPort, tls: true })
  const client = new H3Client(httpsPort)
  return {
    async send(request) {
      const fields = asFields(request)
      if (typeof fields === 'string') return fields
      return refusedIs400((await client.request(fields)).status)
    },
    close: () => client.close(),
  }
}
