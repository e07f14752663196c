/** What an agent tells of itself on a Unix socket in its folder; it also keeps a second one out. */
import { chmodSync, rmSync } from 'node:fs'
import { createServer, connect, type Server } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { z } from 'zod'
import { reasonOf } from '../waf/reason-of.ts'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import { meshModes } from './mode.ts'

const socketName = 'agent.sock'
const answerTimeoutMs = 3_000
/** Of a status; about 400 bytes a peer. */
const answerBytesMax = 16 * 1024 * 1024

const peerStatus = z.object({
  name: z.string(),
  addresses: z.array(z.string()),
  /** `leader`: through one of a location; `none`: no handshake within the last three minutes. */
  path: z.enum(['direct', 'relay', 'leader', 'none']),
  /** The node that forwards, where the path is `relay`. */
  relay: z.string().nullable(),
  /** The leader that it is reached through; agents of before do not say. */
  leader: z.string().nullable().default(null),
  /** Null: not known yet; it is learned when that node speaks first. */
  endpoint: z.string().nullable(),
  /** How long ago; null before the first one. */
  lastHandshakeMs: z.number().nullable(),
  receivedBytes: z.number(),
  sentBytes: z.number(),
  /** Null where the path is direct. */
  whyNotDirect: z.string().nullable(),
})
export type PeerStatus = z.infer<typeof peerStatus>

const meshStatus = z.object({
  self: z.object({
    name: z.string(),
    addresses: z.array(z.string()),
    interface: z.string(),
    mode: z.enum(meshModes),
    mtu: z.number(),
    port: z.number(),
  }),
  coordinator: z.object({ url: z.string(), isConnected: z.boolean(), version: z.number() }),
  peers: z.array(peerStatus),
  /** Which nodes forward for this one, the first choice first; agents of before do not say. */
  relays: z.array(z.string()).default([]),
  /** Whether it forwards for others. */
  isRelay: z.boolean().default(false),
  /** Where this node stands, and through whom it reaches others; null: nowhere in particular. */
  location: z
    .object({
      name: z.string(),
      leaders: z.array(z.string()),
      isLeader: z.boolean(),
      /** None of them is there; agents of before do not say. */
      isAway: z.boolean().default(false),
    })
    .nullable()
    .default(null),
  /** Ranges that are not used, and why. */
  conflicts: z.array(
    z.object({
      node: z.string(),
      prefix: z.string(),
      reason: z.string(),
      /** It is used while the one who has it is silent or away. */
      isReserve: z.boolean().optional(),
    }),
  ),
})
export type MeshStatus = z.infer<typeof meshStatus>

/** Serves the status; fails when another agent does in this folder. Null: not ready yet. */
export async function serveStatus(
  folder: string,
  status: () => Promise<MeshStatus | null>,
): Promise<Server> {
  const path = socketPath(folder)
  if ((await askStatus(folder)) !== 'nobody') {
    throw new MeshFault('AGENT_RUNNING', {
      where: '--state',
      message: `an agent runs with ${folder} already`,
      mend: 'stop it first, or name another folder',
    })
  }
  rmSync(path, { force: true }) // of one that died
  const server = createServer((socket) => {
    socket.on('error', () => undefined) // whoever asked is gone
    status().then(
      (found) => socket.end(JSON.stringify(found)),
      () => socket.destroy(),
    )
  })
  server.listen(path)
  await once(server, 'listening')
  chmodSync(path, 0o600)
  return server
}

/** The status of the agent of a folder; `nobody` when none runs, null while it is not ready. */
export async function askStatus(folder: string): Promise<MeshStatus | 'nobody' | null> {
  const socket = connect(socketPath(folder))
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(answerTimeoutMs) })
  } catch {
    socket.destroy()
    return 'nobody'
  }
  const chunks: Buffer[] = []
  let bytes = 0
  socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error('no answer')))
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > answerBytesMax) throw new Error('a status that is too long')
      chunks.push(chunk)
    }
    return meshStatus.nullable().parse(JSON.parse(Buffer.concat(chunks).toString('utf8')))
  } catch (error) {
    const message = `the agent there does not answer: ${reasonOf(error)}`
    const mend = 'look at its log, or start it again'
    throw new MeshFault('AGENT_SILENT', { where: '--state', message, mend })
  }
}

/** The path of a Unix socket of the folder. */
export function socketPath(folder: string, name = socketName): string {
  const path = join(folder, name)
  if (Buffer.byteLength(path) <= meshLimits.socketPathBytesMax) return path
  throw new MeshFault('STATE_PATH_TOO_LONG', {
    where: '--state',
    message: `${path} has more than ${meshLimits.socketPathBytesMax} bytes`,
    mend: 'name a folder with a shorter path: Unix sockets can have no longer one',
  })
}
