/** What operators ask of a coordinator with its admin key; its health, anybody may see. */
import type { FastifyInstance } from 'fastify'
import { tokenRequest } from '../entry.ts'
import { checked, requireAdmin } from './asking.ts'
import { metricsText, metricsType } from './metrics.ts'
import { pageHeaders, pageText } from './page.ts'
import { pictureOf } from './picture.ts'
import type { CoordinatorParts } from './server.ts'

export function adminRoutes(server: FastifyInstance, parts: CoordinatorParts): void {
  const { registry, streams, reports, adminHash, joins, log, pin } = parts
  server.get('/healthz', () => ({ status: 'ok', nodes: registry.count, streams: streams.count }))
  server.get('/metrics', (request, reply) => {
    requireAdmin(request, adminHash)
    return reply.type(metricsType).send(metricsText(registry, { streams, joins, reports }))
  })
  server.get('/', (request, reply) => {
    requireAdmin(request, adminHash)
    return reply.headers(pageHeaders).type('text/html; charset=utf-8').send(pageText)
  })
  server.get('/v1/mesh', (request) => {
    requireAdmin(request, adminHash)
    return pictureOf(registry, { streams, reports, nowMs: Date.now() })
  })
  server.post('/v1/tokens', (request) => {
    requireAdmin(request, adminHash)
    const { lifeMs, ...order } = checked(tokenRequest, request.body)
    const nowMs = Date.now()
    log.info({ uses: order.uses, address: request.ip }, 'a token is made from afar')
    const expiresAtMs = nowMs + lifeMs
    return { token: registry.createToken({ ...order, pin, nowMs, expiresAtMs }) }
  })
}
