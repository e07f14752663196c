/** What the coordinator and its agents tell each other about nodes; checked where it arrives. */
import { z } from 'zod'
import { meshLimits } from './limits.ts'
import { parseAddress, parsePrefix } from './prefix.ts'

/** As Kubernetes names nodes (RFC 1123 subdomain), so that `mesh://NAME` is a URL. */
export const nodeNamePattern = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/

/** 32 bytes in base64. */
export function isKey(text: string): boolean {
  return /^[A-Za-z0-9+/]{43}=$/.test(text) && Buffer.from(text, 'base64').length === 32
}

/** `10.0.0.1:51820` or `[2001:db8::1]:51820`; null when it is neither. */
export function parseEndpoint(text: string): { readonly address: string; port: number } | null {
  const [, v6, v4, digits = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const address = v6 ?? v4 ?? ''
  const port = Number(digits)
  const parsed = parseAddress(address)
  if (parsed === null || (parsed.family === 6) !== (v6 !== undefined)) return null
  return port >= 1 && port <= 65_535 ? { address, port } : null
}

/** An address and a port as one text. */
export function endpointText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

const port = z.number().int().min(1).max(65_535)
const prefix = z.string().refine((text) => parsePrefix(text) !== null, 'not a CIDR')
const address = z.string().refine((text) => parseAddress(text) !== null, 'not an address')

/** What a node says of itself. Newer agents may say more: what is not known is left alone. */
export const nodeRecord = z.object({
  name: z.string().regex(nodeNamePattern, 'not a node name'),
  /** WireGuard's public key. */
  key: z.string().refine(isKey, 'not a WireGuard public key: 32 bytes in base64'),
  /** The one before it, while a node changes from one to the other. */
  previousKey: z.string().refine(isKey).optional(),
  port,
  /** Where others reach it; null: where the coordinator sees it, if that is of use. */
  endpoint: z
    .string()
    .refine((text) => parseEndpoint(text) !== null, 'not ADDRESS:PORT')
    .nullable(),
  /** Where else it might be reached directly. Whoever says this, if only that there is no such
   * place, understands relays. */
  candidates: z
    .array(z.string().refine((text) => parseEndpoint(text) !== null, 'not ADDRESS:PORT'))
    .max(meshLimits.candidatesMax)
    .optional(),
  /** It forwards for nodes that are not reached directly. */
  isRelay: z.boolean().optional(),
  /** Where it takes packets by TCP as well. */
  tcpPort: port.optional(),
  /** Where it takes them by HTTP/3. */
  h3Port: port.optional(),
  /** Whether it could carry packets between others, as leaders do; only agents say so. */
  forwards: z.boolean().optional(),
  /** Ranges behind it. */
  advertise: z.array(prefix).max(meshLimits.cidrsMax),
  /** Grows with each record of this node: an old one is not taken for a new one. */
  serial: z.number().int().min(0),
})
export type NodeRecord = z.infer<typeof nodeRecord>

/** A record as its node signed it, and who that is. */
export const signedRecord = z.object({
  /** The JSON text itself: what was signed must not be written anew. */
  record: z.string().max(meshLimits.requestBytesMax),
  signature: z.string().max(200),
})
export type SignedRecord = z.infer<typeof signedRecord>

/** A node as the coordinator tells it to the others. */
export const entry = signedRecord.extend({
  /** From the identity, so that nobody takes the place of another. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  /** The public key that the record is signed with (Ed25519, 32 bytes in base64). */
  identity: z.string().refine(isKey, 'not an identity'),
  /** Its own addresses in the mesh. */
  addresses: z.array(address).min(1).max(2),
  /** The address that the coordinator sees; null when that says nothing (loopback). */
  observed: address.nullable(),
  /** Which joined first: it keeps what two of them claim. */
  since: z.number().int().min(0),
  /** Ranges that are the node's without its word: those that Kubernetes gave it. */
  granted: z.array(prefix).max(meshLimits.cidrsMax).optional(),
  /** Where it stands, by its token or by Kubernetes. */
  location: z.string().min(1).max(meshLimits.locationCharactersMax).optional(),
  /** False: whatever it says of itself, it leads nobody. */
  canLead: z.boolean().optional(),
  /** It carries the packets between its location and the others. */
  isLeader: z.boolean().optional(),
  /** It is not connected to the coordinator; said of those only for whom others stand in. */
  isAway: z.boolean().optional(),
})
export type Entry = z.infer<typeof entry>

/** The ranges of the mesh's own addresses. */
export const meshNetworks = z.object({ ipv4: prefix, ipv6: prefix })
export type MeshNetworks = z.infer<typeof meshNetworks>

/** Everything, at one version. */
export const snapshot = z.object({
  version: z.number().int().min(0),
  hash: z.string(),
  nodes: z.array(entry).max(meshLimits.nodesMax),
  /** A delta follows without which it is not whole. */
  isPart: z.boolean().optional(),
})
export type Snapshot = z.infer<typeof snapshot>

/** From one version to another. */
export const delta = z.object({
  from: z.number().int().min(0),
  to: z.number().int().min(0),
  hash: z.string(),
  upsert: z.array(entry).max(meshLimits.nodesMax),
  remove: z.array(z.string()),
})
export type Delta = z.infer<typeof delta>

/** What an agent asks to be let in with. */
export const joinRequest = signedRecord.extend({
  token: z.string().max(meshLimits.tokenCharactersMax),
})

/** What a node gets for a new record: whether every connected node has said that it knows it. */
export const recordAnswer = z.object({ isKnown: z.boolean().default(false) })

/** What it gets. */
export const joinAnswer = z.object({ id: z.string(), networks: meshNetworks })
export type JoinAnswer = z.infer<typeof joinAnswer>

/** What an agent tells of itself now and then. */
export const report = z.object({
  /** The version that its device follows. */
  applied: z.number().int().min(0),
  /** Peers that it has sessions with. */
  peers: z
    .array(
      z.object({
        key: z.string().refine(isKey),
        path: z.enum(['direct', 'relay', 'none']),
        lastHandshakeMs: z.number().min(0).nullable(),
        receivedBytes: z.number().min(0),
        sentBytes: z.number().min(0),
      }),
    )
    .max(meshLimits.reportPeersMax)
    .optional(),
})
export type Report = z.infer<typeof report>

/** What an operator asks a token with. */
export const tokenRequest = z.object({
  uses: z.number().int().min(1).max(meshLimits.tokenUsesMax),
  lifeMs: z.number().int().min(1).max(meshLimits.tokenLifeMsMax),
  labels: z
    .record(z.string().max(253), z.string().max(63))
    .refine((labels) => Object.keys(labels).length <= meshLimits.labelsMax, 'too many labels'),
  cidrs: z.array(prefix).max(meshLimits.cidrsMax),
})
export type TokenRequest = z.infer<typeof tokenRequest>

/** What it gets. */
export const tokenAnswer = z.object({ token: z.string() })
