/**
 * The REST contract of seed 000's control plane on our registry: for its devices, which make their
 * own WireGuard key and know a pre-shared key and nothing else. They are nodes like any other; what
 * is said of them is signed by an identity that is made for that and thrown away.
 *
 * Left out, and why:
 * - `X-Device-Signature`: the contract never tells the server a key to check it with. A device
 *   shows the pre-shared key with which it registered instead.
 * - JWTs of users: operators have one key, the admin key, as bearer.
 * - `virtual-networks`: a coordinator has one network; another one is another coordinator.
 * - `alerts`, `audit-logs`, `stats`, `topology`, `/ws`: Prometheus and the log have what they told.
 * - `turn_servers`: nodes relay for each other, without accounts; the list is empty.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { reasonOf } from '../../waf/reason-of.ts'
import { isKey, nodeNamePattern } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { idOf, passingIdentity, signRecord } from '../identity.ts'
import { meshLimits } from '../limits.ts'
import { isSharedKey, tokenOfSharedKey } from '../shared-key.ts'
import { tokenText } from '../token.ts'
import { checked, observedOf, requireAdmin } from './asking.ts'
import { configOf } from './foreign.ts'
import { admitted, type CoordinatorParts } from './server.ts'

const platforms = [
  'desktop_linux',
  'desktop_windows',
  'desktop_macos',
  'mobile_ios',
  'mobile_android',
  'iot',
  'container',
] as const

const registration = z.object({
  public_key: z.string().refine(isKey, 'not a WireGuard public key: 32 bytes in base64'),
  platform: z.enum(platforms).default('container'),
  device_name: z.string().optional(),
  /** As the seed's client calls it. */
  name: z.string().optional(),
  pre_shared_key: z.string().optional(),
})

const bytes = z.number().min(0).default(0)
const metrics = z.object({
  sessions: z
    .array(
      z.object({
        peer_device_id: z.string(),
        connection_type: z.enum(['p2p_direct', 'turn_relay']).default('p2p_direct'),
        last_handshake_at: z.string().optional(),
        bytes_sent: bytes,
        bytes_received: bytes,
      }),
    )
    .max(meshLimits.reportPeersMax)
    .default([]),
})

const listing = z.object({
  platform: z.enum(platforms).optional(),
  online: z.enum(['true', 'false']).optional(),
  limit: z.coerce.number().int().min(1).max(100).default(50),
  offset: z.coerce.number().int().min(0).default(0),
})

const place = z.object({ id: z.string().max(64) })

/** A device is online for so long after its last report, as in the seed's rules for alerts. */
const onlineMs = 300_000
/** It says nothing of a port, and nobody calls it first. */
const port = 51_820

const statuses: Readonly<Record<string, number>> = {
  REQUEST_MALFORMED: 400,
  TOKEN_UNKNOWN: 401,
  ADMIN_KEY_WRONG: 403,
  NODE_UNKNOWN: 404,
  KEY_TAKEN: 409,
  NAME_TAKEN: 409,
  JOIN_REFUSED_TOO_OFTEN: 429,
  JOINS_TOO_MANY: 429,
}

/** Below `/api/v1`. */
export function edgelinkRoutes(server: FastifyInstance, parts: CoordinatorParts): void {
  void server.register(
    (scope, _options, done) => {
      scope.setErrorHandler((error, request, reply) => refuse(error, request, { reply, parts }))
      routes(scope, parts)
      done()
    },
    { prefix: '/api/v1' },
  )
}

function routes(scope: FastifyInstance, parts: CoordinatorParts): void {
  const { registry, streams, reports } = parts
  scope.post('/device/register', async (request, reply) => {
    const wanted = checked(registration, request.body)
    const joined = await register(request, wanted, parts)
    streams.changed()
    return reply.code(201).send({
      ...configBody(parts, joined.id),
      virtual_subnet: registry.networks.ipv4,
      created_at: new Date().toISOString(),
    })
  })
  scope.get('/device/:id/config', (request) => configBody(parts, device(request, parts)))
  scope.post('/device/:id/metrics', (request, reply) => {
    const id = device(request, parts)
    const { sessions } = checked(metrics, request.body)
    const peers = sessions.flatMap((session) => {
      const record = registry.entry(session.peer_device_id)?.record
      const at = Date.parse(session.last_handshake_at ?? '')
      if (record === undefined) return []
      return [
        {
          key: z.object({ key: z.string() }).parse(JSON.parse(record)).key,
          path: session.connection_type === 'turn_relay' ? ('relay' as const) : ('direct' as const),
          lastHandshakeMs: Number.isNaN(at) ? null : Math.max(0, Date.now() - at),
          receivedBytes: session.bytes_received,
          sentBytes: session.bytes_sent,
        },
      ]
    })
    reports.take(id, { applied: registry.version, peers }, Date.now())
    return reply.code(202).send({ status: 'accepted' })
  })
  scope.delete('/device/:id', (request, reply) => {
    requireAdmin(request, parts.adminHash)
    const { id } = checked(place, request.params)
    registry.revoke(nameOf(parts, id), Date.now())
    streams.changed()
    return reply.code(204).send()
  })
  scope.get('/devices', (request) => {
    requireAdmin(request, parts.adminHash)
    const { platform, online, limit, offset } = checked(listing, request.query)
    const all = registry.entries('all').map(({ id, addresses }) => ({
      device_id: id,
      device_name: nameOf(parts, id),
      platform: registry.origin(id)?.platform ?? '',
      virtual_ip: addresses[0] ?? '',
      online: streams.has(id) || Date.now() - (reports.of(id)?.atMs ?? 0) < onlineMs,
    }))
    const found = all.filter(
      (one) =>
        (platform === undefined || one.platform === platform) &&
        (online === undefined || one.online === (online === 'true')),
    )
    return { devices: found.slice(offset, offset + limit), total: found.length, limit, offset }
  })
}

async function register(
  request: FastifyRequest,
  wanted: z.infer<typeof registration>,
  parts: CoordinatorParts,
) {
  const { registry, pin, log } = parts
  const key = sharedKeyIn(request) ?? wanted.pre_shared_key ?? ''
  const name = (wanted.device_name ?? wanted.name ?? '').toLowerCase()
  const { public_key: publicKey, platform } = wanted
  checked(z.object({ device_name: z.string().regex(nodeNamePattern) }), { device_name: name })
  const identity = await passingIdentity()
  const record = { name, key: publicKey, port, endpoint: null, advertise: [], serial: Date.now() }
  const signed = signRecord(identity, record)
  const entry = admitted(request, parts, () => {
    if (!isSharedKey(key)) throw unknownKey()
    const token = tokenText({ ...tokenOfSharedKey(key), pin })
    const observed = observedOf(request)
    const candidate = { identity: identity.identity, signed, record, observed, platform }
    return registry.join(candidate, token, Date.now())
  })
  log.info({ node: entry.id, platform }, 'a device of seed 000 is in the mesh')
  return entry
}

/** The contract's header, and the one that the seed's server reads. */
function sharedKeyIn({ headers }: FastifyRequest): string | null {
  const text = headers['x-presharedkey'] ?? headers['x-pre-shared-key']
  return typeof text === 'string' ? text : null
}

/** The id in the path, of a device that shows the key with which it registered. */
function device(request: FastifyRequest, { registry }: CoordinatorParts): string {
  const { id } = checked(place, request.params)
  const token = registry.shared(sharedKeyIn(request) ?? '')
  if (token === null) throw unknownKey()
  const origin = registry.origin(id)
  if (origin === null || origin.token !== token) throw unknownDevice(id)
  return id
}

function configBody({ registry }: CoordinatorParts, id: string): object {
  const { addresses: own, peers, stunServers } = configOf(registry, id)
  const addresses = own.map((text) => text.replace(/\/.*$/, ''))
  return {
    device_id: id,
    virtual_ip: addresses[0],
    // The contract knows IPv4 only; who knows more finds more.
    virtual_ips: addresses,
    virtual_network: { id: idOf(registry.networks.ipv6), cidr: registry.networks.ipv4 },
    virtual_network_id: idOf(registry.networks.ipv6),
    peers: peers.map((peer) => ({
      device_id: peer.id,
      public_key: peer.publicKey,
      virtual_ip: peer.addresses[0],
      allowed_ips: peer.allowedIps,
      ...(peer.endpoint === null ? {} : { endpoint: peer.endpoint }),
      persistent_keepalive: peer.keepaliveS,
    })),
    stun_servers: stunServers.map((place) => `stun:${place}`), // RFC 7064
    turn_servers: [],
  }
}

function nameOf({ registry }: CoordinatorParts, id: string): string {
  const entry = registry.entry(id)
  if (entry === undefined) throw unknownDevice(id)
  return z.object({ name: z.string() }).parse(JSON.parse(entry.record)).name
}

function unknownKey(): MeshFault {
  return new MeshFault('TOKEN_UNKNOWN', {
    where: 'X-PreSharedKey',
    message: 'the coordinator does not know this pre-shared key',
    mend: 'give it one: edge mesh token --psk-file FILE, or EDGELINK_PSK of the coordinator',
  })
}

function unknownDevice(id: string): MeshFault {
  const mend = 'register again'
  return new MeshFault('NODE_UNKNOWN', { where: id, message: 'there is no such device', mend })
}

/** A body that is no JSON, or has another type; null: a fault of ours. */
function malformedBody(error: unknown): MeshFault | null {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  if (status < 400 || status >= 500) return null
  const mend = 'send JSON with content-type: application/json'
  return new MeshFault('REQUEST_MALFORMED', { where: 'the body', message: reasonOf(error), mend })
}

/** The contract's form of an error. */
function refuse(
  error: unknown,
  request: FastifyRequest,
  { reply, parts }: { readonly reply: FastifyReply; readonly parts: CoordinatorParts },
): FastifyReply {
  const fault = error instanceof MeshFault ? error : malformedBody(error)
  if (fault === null) throw error
  const { code, where, message, mend } = fault
  parts.log.warn({ code, where, address: request.ip }, message)
  const body = { error: code, message, details: { where, mend } }
  return reply.code(statuses[code] ?? 403).send(body)
}
