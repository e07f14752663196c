/** The WAF as a service of its own: `POST /evaluate`, `GET /health`. */
import { type FastifyError, type FastifyInstance, fastify } from 'fastify'
import type { OfflineEngine } from '../../waf/offline/engine.ts'
import type { Logger } from '../log.ts'
import { evaluate, refused } from './evaluate.ts'

/** Bounds on one call. */
export interface ServiceLimits {
  /** Longest call, which holds the request's body as text or Base64. Beyond it: 413. */
  readonly callBytesMax: number
  /** Longest time for a call to arrive. Beyond it: 408. */
  readonly callTimeoutMs: number
}

/** Room for a body of 10 MiB in Base64 beside its headers. */
export const defaultServiceLimits: ServiceLimits = {
  callBytesMax: 16 * 1024 * 1024,
  callTimeoutMs: 10_000,
}

/** The server, not listening yet; each call is answered by the engine of that moment. */
export function wafServer(
  engine: () => OfflineEngine,
  log: Logger,
  limits: ServiceLimits = defaultServiceLimits,
): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: limits.callBytesMax,
    requestTimeout: limits.callTimeoutMs,
    forceCloseConnections: 'idle',
  })
  // The service that this one replaces reads JSON whatever the type says.
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(
    '*',
    { parseAs: 'string' },
    server.getDefaultJsonParser('error', 'error'),
  )
  server.get('/health', () => ({ status: 'healthy' }))
  server.post('/evaluate', (request, reply) => {
    const { status, answer } = evaluate(request.body, engine())
    if (status !== 200) {
      const { rule_id: rule, message } = answer
      log.info({ status, rule, message, client: clientOf(request.body) }, 'not allowed')
    }
    return reply.code(status).send(answer)
  })
  server.setErrorHandler((error: FastifyError, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) log.error({ err: error }, 'a call failed')
    const message = status >= 500 ? 'The request could not be inspected' : error.message
    return reply.code(status).send(refused(message).answer)
  })
  return server
}

function clientOf(body: unknown): string {
  const holds = typeof body === 'object' && body !== null && 'remote_addr' in body
  return holds ? String(body.remote_addr) : ''
}
