/** How a node comes into a mesh: what it says of itself, and what it remembers of the answer. */
import { reasonOf } from '../waf/reason-of.ts'
import { CoordinatorClient } from './client.ts'
import type { NodeRecord } from './entry.ts'
import { MeshFault } from './fault.ts'
import { type Identity, signRecord } from './identity.ts'
import type { Log } from './log.ts'
import { type Membership, readMembership, writeMembership } from './memory.ts'
import { pause, retryMs } from './retry.ts'
import { parseToken } from './token.ts'

/** What a node says of itself, and with what it asks to be let in. */
export interface JoinOptions {
  readonly coordinator: string
  /** Null: it joined before. */
  readonly token: string | null
  readonly name: string
  readonly folder: string
  readonly port: number
  readonly advertise: readonly string[]
  readonly endpoint: string | null
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

/** By what the coordinator of a token is known. */
export function pinFor(token: string | null): string {
  const parsed = token === null ? null : parseToken(token)
  if (parsed !== null) return parsed.pin
  throw new MeshFault(token === null ? 'TOKEN_MISSING' : 'TOKEN_MALFORMED', {
    where: '--token',
    message: token === null ? 'the first start needs one' : 'it is not a token',
    mend: 'make one at the coordinator: edge mesh token',
  })
}

/** Asks until there is an answer; a refusal is one, unless it says that later will do. */
export async function join(
  options: JoinOptions,
  { identity, client, pin }: { identity: Identity; client: CoordinatorClient; pin: string },
  signal: AbortSignal,
): Promise<Membership> {
  const { coordinator: url, name, token, folder, log } = options
  const signed = signRecord(identity, recordOf(options, identity, Date.now()))
  for (let failures = 1; ; failures += 1) {
    try {
      const { id, networks } = await client.join(signed, token ?? '')
      const membership = { url, pin, id, name, networks }
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

/** What a node with these options says of itself. */
export function recordOf(
  options: Pick<JoinOptions, 'name' | 'port' | 'endpoint' | 'advertise'>,
  identity: Identity,
  serial: number,
): NodeRecord {
  const { name, port, endpoint, advertise } = options
  const key = identity.wireguard.publicKey
  return { name, key, port, endpoint, advertise: [...advertise], serial }
}
