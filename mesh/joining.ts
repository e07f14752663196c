/** How a node comes into a mesh: what it says of itself, and what it remembers of the answer. */
import { randomBytes } from 'node:crypto'
import { reasonOf } from '../waf/reason-of.ts'
import { CoordinatorClient } from './client.ts'
import type { Credential } from './credential.ts'
import type { NodeRecord } from './entry.ts'
import { MeshFault } from './fault.ts'
import { makeFolder } from './folder.ts'
import { type Identity, identityOf, signRecord } from './identity.ts'
import { KeyRing } from './key-ring.ts'
import type { Log } from './log.ts'
import { type Membership, readMembership, writeMembership } from './memory.ts'
import type { Pin } from './pinned.ts'
import { pause, retryMs } from './retry.ts'
import { isSharedKey, tokenProvedBy } from './shared-key.ts'
import { parseToken } from './token.ts'

/** What a node says of itself, and with what it asks to be let in. */
export interface JoinOptions {
  readonly coordinator: string
  /** Null: it joined before. */
  readonly token: string | null
  /** Instead of a token: what Kubernetes keeps up to date for the agent of a node. */
  readonly credential?: Credential | undefined
  readonly name: string
  readonly folder: string
  readonly port: number
  readonly advertise: readonly string[]
  readonly endpoint: string | null
  /** False: it forwards for nobody, though others reach it at its endpoint. */
  readonly isRelay?: boolean
  /** False: it leads no location. */
  readonly isLeader?: boolean
  /** Where a relay takes packets by TCP as well; null: nowhere. */
  readonly tcpPort?: number | null
  /** Where it takes them by HTTP/3; null: nowhere. */
  readonly h3Port?: number | null
  readonly log: Log
}

/** What the folder remembers; null before the node joined. */
export function knownMembership(options: {
  readonly folder: string
  readonly name: string
  readonly coordinator: string
}): Membership | null {
  const { folder, name, coordinator } = options
  const known = readMembership(folder)
  if (known === null || known.name === name)
    return known === null ? null : { ...known, url: coordinator }
  throw new MeshFault('NAME_OTHER', {
    where: '--name',
    message: `this folder belongs to the node ${known.name}`,
    mend: `write --name ${known.name}, or name another folder and join with a new token`,
  })
}

/** The token to ask with, and by what its coordinator is known. */
async function tokenFor(
  { coordinator, token }: Pick<JoinOptions, 'coordinator' | 'token'>,
  signal: AbortSignal,
): Promise<{ readonly token: string; readonly pin: string }> {
  const text =
    token !== null && isSharedKey(token) ? await proved(coordinator, token, signal) : token
  const parsed = text === null ? null : parseToken(text)
  if (text !== null && parsed !== null) return { token: text, pin: parsed.pin }
  throw new MeshFault(token === null ? 'TOKEN_MISSING' : 'TOKEN_MALFORMED', {
    where: '--token',
    message: token === null ? 'the first start needs one' : 'it is not a token',
    mend: 'make one at the coordinator: edge mesh token; a pre-shared key has 64 hex characters',
  })
}

/** By what the coordinator is known, and with what to ask it; a node that is in needs no token. */
export async function entranceOf(
  options: JoinOptions,
  known: Membership | null,
  signal: AbortSignal,
): Promise<{ readonly token: string; readonly pin: Pin }> {
  if (options.credential !== undefined) return { pin: options.credential.pin, token: '' }
  return known === null ? tokenFor(options, signal) : { pin: known.pin, token: '' }
}

/** Seed 000's pre-shared key: asks until the coordinator proves to have it, or does not know it. */
async function proved(url: string, key: string, signal: AbortSignal): Promise<string> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await tokenProvedBy(url, key, randomBytes(32).toString('hex'))
    } catch (error) {
      if (error instanceof MeshFault || signal.aborted) throw error
    }
    await pause(retryMs(failures), signal)
    signal.throwIfAborted()
  }
}

/** What a join stands on. */
interface JoinParts {
  /** What the device can do beside WireGuard. */
  readonly ways: WaysSaid
  readonly identity: Identity
  readonly keys: KeyRing
  readonly client: CoordinatorClient
  readonly pin: Pin
  readonly token: string
}

/** Asks until there is an answer; a refusal is one, unless it says that later will do. */
export async function join(
  options: JoinOptions,
  { identity, client, pin, token, keys, ways }: JoinParts,
  signal: AbortSignal,
): Promise<Membership> {
  const { coordinator: url, name, folder, credential, log } = options
  const record = recordOf(options, keys.announced, Date.now(), ways)
  const signed = signRecord(identity, record)
  for (let failures = 1; ; failures += 1) {
    try {
      const { id, networks } = await client.join(signed, credential?.token() ?? token)
      const known = typeof pin === 'string' ? pin : pin()
      const membership = { url, pin: known, id, name, networks }
      writeMembership(folder, membership)
      return membership
    } catch (error) {
      const isRefusal = error instanceof MeshFault && error.code !== 'JOINS_TOO_MANY'
      if (isRefusal || signal.aborted) throw error
      log.warn({ coordinator: url, reason: reasonOf(error) }, 'the coordinator does not answer')
    }
    await pause(retryMs(failures), signal)
    signal.throwIfAborted()
  }
}

/** Joins and remembers, without a device; a node that is in already stays as it is. */
export async function joinOnly(options: JoinOptions, signal: AbortSignal): Promise<Membership> {
  makeFolder(options.folder)
  const known = knownMembership(options)
  if (known !== null) return known
  const identity = await identityOf(options.folder)
  const keys = KeyRing.of(options.folder, identity, Date.now())
  const { pin, token } = await entranceOf(options, known, signal)
  const client = new CoordinatorClient(options.coordinator, pin, identity)
  try {
    // Without a device nobody knows what it will be able to do.
    const parts = { identity, keys, client, pin, token, ways: {} }
    const membership = await join(options, parts, signal)
    const { port, advertise, endpoint } = options
    const said = { port, advertise: [...advertise], endpoint }
    writeMembership(options.folder, { ...membership, said })
    return membership
  } finally {
    await client.close()
  }
}

/** What a node with these options says of itself. */
export function recordOf(
  options: Pick<JoinOptions, 'name' | 'port' | 'endpoint' | 'advertise'>,
  keys: Pick<NodeRecord, 'key' | 'previousKey'>,
  serial: number,
  ways: WaysSaid = {},
): NodeRecord {
  const { name, port, endpoint, advertise } = options
  return { name, ...keys, port, endpoint, ...ways, advertise: [...advertise], serial }
}

/** What a record says of ways beside WireGuard's own; nothing where the device knows none. */
export type WaysSaid = Pick<
  NodeRecord,
  'candidates' | 'isRelay' | 'tcpPort' | 'h3Port' | 'forwards'
>

/** Whoever is reached at an endpoint forwards for the others, unless it was told not to. */
export function isRelay(options: Pick<JoinOptions, 'endpoint' | 'isRelay'>): boolean {
  return options.endpoint !== null && options.isRelay !== false
}
