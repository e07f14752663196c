/**
 * The coordinator's API. Who asks is known by the key of its TLS certificate, which the handshake
 * proves; what it may ask depends on whether that key is in the mesh.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { z } from 'zod'
import { type JoinAnswer, joinRequest, report, signedRecord } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { meshLimits } from '../limits.ts'
import type { Log } from '../log.ts'
import { proofRequest } from '../shared-key.ts'
import { adminRoutes } from './admin.ts'
import { candidate, checked, member, observedOf, socketOf } from './asking.ts'
import { edgelinkRoutes } from './edgelink.ts'
import type { Front } from './front.ts'
import type { Leaders } from './leaders.ts'
import type { JoinLimiter } from './limiter.ts'
import type { JoinCounts } from './metrics.ts'
import type { Reports } from './reports.ts'
import type { Candidate } from './registry.ts'
import type { CoordinatorState } from './state.ts'
import type { Streams } from './streams.ts'

/** What the API stands on. */
export interface CoordinatorParts extends CoordinatorState {
  readonly front: () => Pick<Front, 'open'>
  readonly streams: Streams
  readonly reports: Reports
  readonly leaders: Pick<Leaders, 'left' | 'arrived' | 'look'>
  readonly limiter: JoinLimiter
  readonly joins: JoinCounts
  readonly log: Log
  readonly admit?: Admit | undefined
}

/**
 * Somebody else who vouches for nodes: a token of ours in exchange for one of theirs, or null when
 * it is none of theirs. A refusal is a `MeshFault`.
 */
export type Admit = (token: string, candidate: Candidate) => Promise<string | null>

const resume = z.object({
  from: z.coerce.number().int().min(0),
  hash: z.string().max(64),
  patience: z.coerce.number().int().min(1_000).optional(),
})

/** Statuses of faults that are not simply refusals. */
const statuses: Readonly<Record<string, number>> = {
  REQUEST_MALFORMED: 400,
  IDENTITY_MISSING: 401,
  NODE_UNKNOWN: 401,
  ADMIN_KEY_WRONG: 401,
  JOIN_REFUSED_TOO_OFTEN: 429,
  JOINS_TOO_MANY: 429,
}

/** It listens nowhere: requests come from the front. */
export function coordinatorServer(parts: CoordinatorParts): FastifyInstance {
  const { log } = parts
  const server = fastify({ bodyLimit: meshLimits.requestBytesMax })
  server.setErrorHandler((error, request, reply) => answerFault(error, { request, reply, log }))
  agentRoutes(server, parts)
  adminRoutes(server, parts)
  edgelinkRoutes(server, parts)
  return server
}

function agentRoutes(server: FastifyInstance, parts: CoordinatorParts): void {
  const { registry, streams, reports, leaders, log } = parts
  server.post('/v1/join', async (request): Promise<JoinAnswer> => {
    const { token, ...signed } = checked(joinRequest, request.body)
    const asks = candidate(request, signed)
    const own = (await parts.admit?.(token, asks)) ?? token
    const entry = admitted(request, parts, () => registry.join(asks, own, Date.now()))
    streams.changed()
    log.info({ node: entry.id, addresses: entry.addresses }, 'a node is in the mesh')
    await streams.known(registry.version, entry.id)
    return { id: entry.id, networks: registry.networks }
  })
  server.post('/v1/proof', (request) => {
    const question = checked(proofRequest, request.body)
    return { proof: admitted(request, parts, () => registry.proof(question, parts.pin)) }
  })
  // A second connection of each of many agents would be twice as many connections.
  const done = (reply: FastifyReply, id: string, answer: object): FastifyReply =>
    (streams.isMany(id) ? reply.header('connection', 'close') : reply).send(answer)
  server.post('/v1/record', async (request, reply) => {
    const signed = checked(signedRecord, request.body)
    const id = member(request, registry)
    registry.update(id, candidate(request, signed))
    streams.changed()
    const isKnown = await streams.known(registry.version, id)
    return done(reply, id, { isKnown })
  })
  server.post('/v1/report', (request, reply) => {
    const told = checked(report, request.body)
    const id = member(request, registry)
    streams.applied(id, told.applied)
    reports.take(id, told, Date.now())
    return done(reply, id, {})
  })
  server.post('/v1/leave', (request, reply) => {
    const id = member(request, registry)
    leaders.left(id)
    if (leaders.look(performance.now())) streams.changed()
    return done(reply, id, {})
  })
  server.get('/v1/watch', (request, reply) => {
    const from = checked(resume, request.query)
    const id = member(request, registry)
    if (registry.observe(id, observedOf(request))) streams.changed()
    const { line } = socketOf(request)
    reply.hijack()
    parts.front().open(line, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    streams.open(id, line, from)
    leaders.arrived(id)
  })
}

/** Lets in as often as the limits say. */
export function admitted<T>(
  { ip }: FastifyRequest,
  { limiter, joins }: Pick<CoordinatorParts, 'limiter' | 'joins'>,
  join: () => T,
): T {
  const nowMs = performance.now()
  try {
    limiter.admit(ip, nowMs)
    const joined = join()
    joins.add('joined')
    return joined
  } catch (error) {
    const code = error instanceof MeshFault ? error.code : 'INTERNAL'
    if (code !== 'JOINS_TOO_MANY') limiter.refused(ip, nowMs)
    joins.add(code)
    throw error
  }
}

function answerFault(
  error: unknown,
  { request, reply, log }: { request: FastifyRequest; reply: FastifyReply; log: Log },
): FastifyReply {
  if (error instanceof MeshFault) {
    const { code, where, message, mend } = error
    log.warn({ code, where, address: request.ip, path: request.routeOptions.url }, message)
    const status = statuses[code] ?? 403
    if (status === 429) reply.header('retry-after', code === 'JOINS_TOO_MANY' ? '1' : '60')
    // A browser asks for it; agents do not look there.
    if (code === 'ADMIN_KEY_WRONG') reply.header('www-authenticate', 'Basic realm="mesh"')
    return reply.code(status).send({ code, where, message, mend })
  }
  const status = statusOf(error)
  if (status < 500) return reply.code(status).send({ code: 'REQUEST_MALFORMED' })
  log.error({ err: error, path: request.routeOptions.url }, 'a request failed')
  return reply.code(500).send({ code: 'INTERNAL' })
}

function statusOf(error: unknown): number {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  return status >= 400 ? status : 500
}
