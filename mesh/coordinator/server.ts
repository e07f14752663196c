/**
 * The coordinator's API. Who asks is known by the key of its TLS certificate, which the handshake
 * proves; what it may ask depends on whether that key is in the mesh.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { TLSSocket } from 'node:tls'
import { z } from 'zod'
import { type JoinAnswer, joinRequest, signedRecord, tokenRequest } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { idOf, identityIn, verifiedRecord } from '../identity.ts'
import { meshLimits } from '../limits.ts'
import type { Log } from '../log.ts'
import { isSecret } from '../token.ts'
import { type Candidate, unknownNode, type Registry } from './registry.ts'
import type { CoordinatorState } from './state.ts'
import type { Streams } from './streams.ts'

/** What the API stands on. */
export interface CoordinatorParts extends CoordinatorState {
  readonly streams: Streams
  readonly log: Log
  readonly admit?: Admit | undefined
}

/**
 * Somebody else who vouches for nodes: a token of ours in exchange for one of theirs, or null when
 * it is none of theirs. A refusal is a `MeshFault`.
 */
export type Admit = (token: string, candidate: Candidate) => Promise<string | null>

const resume = z.object({ from: z.coerce.number().int().min(0), hash: z.string().max(64) })
const report = z.object({ applied: z.number().int().min(0) })

/** Statuses of faults that are not simply refusals. */
const statuses: Readonly<Record<string, number>> = {
  REQUEST_MALFORMED: 400,
  IDENTITY_MISSING: 401,
  NODE_UNKNOWN: 401,
  ADMIN_KEY_WRONG: 401,
}

export function coordinatorServer(parts: CoordinatorParts): FastifyInstance {
  const { registry, streams, log, key, certificate } = parts
  const server = fastify({
    // Any certificate: its key is looked up, and no authority would make it more true.
    https: { key, cert: certificate, requestCert: true, rejectUnauthorized: false },
    bodyLimit: meshLimits.requestBytesMax,
    requestTimeout: meshLimits.requestTimeoutMs,
    forceCloseConnections: true,
  })
  server.setErrorHandler((error, request, reply) => answerFault(error, { request, reply, log }))
  server.get('/healthz', () => ({ status: 'ok', nodes: streams.count }))
  server.post('/v1/join', async (request): Promise<JoinAnswer> => {
    const { token, ...signed } = checked(joinRequest, request.body)
    const asks = candidate(request, signed)
    const own = (await parts.admit?.(token, asks)) ?? token
    const entry = registry.join(asks, own, Date.now())
    streams.changed()
    log.info({ node: entry.id, addresses: entry.addresses }, 'a node is in the mesh')
    await streams.known(registry.version, entry.id)
    return { id: entry.id, networks: registry.networks }
  })
  server.post('/v1/record', (request) => {
    const signed = checked(signedRecord, request.body)
    registry.update(member(request, registry), candidate(request, signed))
    streams.changed()
    return {}
  })
  server.post('/v1/report', (request) => {
    const { applied } = checked(report, request.body)
    streams.applied(member(request, registry), applied)
    return {}
  })
  server.post('/v1/tokens', (request) => {
    requireAdmin(request, parts.adminHash)
    const { lifeMs, ...order } = checked(tokenRequest, request.body)
    const nowMs = Date.now()
    log.info({ uses: order.uses, address: request.ip }, 'a token is made from afar')
    const expiresAtMs = nowMs + lifeMs
    return { token: registry.createToken({ ...order, pin: parts.pin, nowMs, expiresAtMs }) }
  })
  server.get('/v1/watch', (request, reply) => {
    const from = checked(resume, request.query)
    const id = member(request, registry)
    if (registry.observe(id, observedOf(request))) streams.changed()
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    streams.open(id, reply.raw, from)
  })
  return server
}

function answerFault(
  error: unknown,
  { request, reply, log }: { request: FastifyRequest; reply: FastifyReply; log: Log },
): FastifyReply {
  if (error instanceof MeshFault) {
    const { code, where, message, mend } = error
    log.warn({ code, where, address: request.ip, path: request.url }, message)
    return reply.code(statuses[code] ?? 403).send({ code, where, message, mend })
  }
  const status = statusOf(error)
  if (status < 500) return reply.code(status).send({ code: 'REQUEST_MALFORMED' })
  log.error({ err: error, path: request.url }, 'a request failed')
  return reply.code(500).send({ code: 'INTERNAL' })
}

function statusOf(error: unknown): number {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  return status >= 400 ? status : 500
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw malformed(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not understood'}`)
}

function malformed(message: string): MeshFault {
  const mend = 'the agent and the coordinator should be of the same version'
  return new MeshFault('REQUEST_MALFORMED', { where: 'the request', message, mend })
}

/** The identity behind a connection. */
function identityOf(request: FastifyRequest): string {
  const { socket } = request
  const shown = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  const identity = shown === undefined ? null : identityIn(shown)
  if (identity !== null) return identity
  throw new MeshFault('IDENTITY_MISSING', {
    where: 'the connection',
    message: 'it shows no Ed25519 certificate',
    mend: 'agents show theirs by themselves; a proxy between them must not end TLS',
  })
}

function requireAdmin({ headers }: FastifyRequest, hash: Buffer): void {
  const [, text = ''] = /^Bearer ([\w-]{1,100})$/.exec(headers.authorization ?? '') ?? []
  if (isSecret(Buffer.from(text, 'base64url'), hash)) return
  throw new MeshFault('ADMIN_KEY_WRONG', {
    where: '--admin-key',
    message: 'it is not the key of this coordinator',
    mend: "take the file admin-key of the coordinator's folder of state",
  })
}

/** The id of a node that is in the mesh. */
function member(request: FastifyRequest, registry: Registry): string {
  const id = idOf(identityOf(request))
  if (!registry.has(id)) throw unknownNode()
  return id
}

function candidate(request: FastifyRequest, signed: z.infer<typeof signedRecord>): Candidate {
  const identity = identityOf(request)
  const record = verifiedRecord({ ...signed, identity })
  if (record === null) throw malformed('the record is not signed by this node, or not understood')
  return { identity, signed, record, observed: observedOf(request) }
}

/** Null for an address that says nothing to other machines. */
function observedOf({ socket }: FastifyRequest): string | null {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  const isHere = address === '' || address === '::1' || address.startsWith('127.')
  return isHere || /^fe80:/i.test(address) ? null : address
}
