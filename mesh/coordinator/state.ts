/** A coordinator's folder of state: also for commands beside the one that serves. */
import { randomBytes, X509Certificate } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { MeshNetworks } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { makeFolder, readSecret, readState, writeOnce } from '../folder.ts'
import { addressText } from '../prefix.ts'
import { hashOfSecret, newAdminKey, parseAdminKey, pinOf } from '../token.ts'
import { Registry } from './registry.ts'

const pairFile = 'certificate.json'
/** For `edge mesh token --coordinator`, elsewhere. */
const adminFile = 'admin-key'
/** Node wants so many bytes: a name and two keys for tickets (RFC 5077 §4). */
const ticketFile = 'ticket-keys'
const ticketBytes = 48
const databaseFile = 'coordinator.sqlite'
const pair = z.object({ key: z.string(), certificate: z.string() })

/** What a folder holds. */
export interface CoordinatorState {
  readonly registry: Registry
  readonly key: string
  readonly certificate: string
  /** What agents know the coordinator by. */
  readonly pin: string
  /** With them a fleet resumes its sessions of TLS also after a restart. */
  readonly ticketKeys: Buffer
  /** The hash of the key that makes tokens from afar. */
  readonly adminHash: Buffer
}

/**
 * Opens a folder, or makes what is missing: a token may be made before the first start. A new mesh
 * gets these networks.
 */
export async function openState(
  folder: string,
  networks: MeshNetworks = newNetworks(),
): Promise<CoordinatorState> {
  makeFolder(folder)
  let found = readPair(folder)
  if (found === null) {
    const { selfSigned } = await import('../certificate.ts') // the library takes its time
    const made = JSON.stringify(await selfSigned('P-256', 'edge mesh coordinator'))
    found = pair.parse(JSON.parse(writeOnce(folder, pairFile, made)))
  }
  const ticketKeys = ticketKeysOf(folder)
  const database = join(folder, databaseFile)
  closeSync(openSync(database, 'a', 0o600)) // SQLite's other files take these permissions over
  const registry = new Registry(database, networks)
  const pin = pinOf(new X509Certificate(found.certificate))
  return { registry, ...found, pin, ticketKeys, adminHash: adminHashOf(folder, pin) }
}

/** IPv4 from the shared range (RFC 6598), IPv6 from a random unique local one (RFC 4193). */
function newNetworks(): MeshNetworks {
  const value = BigInt(`0xfd${randomBytes(5).toString('hex')}`) << 80n
  return { ipv4: '100.96.0.0/16', ipv6: `${addressText({ family: 6, value })}/64` }
}

function readPair(folder: string): z.infer<typeof pair> | null {
  try {
    return readState(folder, pairFile, pair)
  } catch (error) {
    if (!(error instanceof MeshFault) || error.code !== 'STATE_INVALID') throw error
    const { where, message } = error
    const mend = 'restore it from a backup: agents know this coordinator by it'
    throw new MeshFault('STATE_INVALID', { where, message, mend })
  }
}

function ticketKeysOf(folder: string): Buffer {
  const make = (): string => randomBytes(ticketBytes).toString('base64')
  const keys = Buffer.from(writeOnceOr(folder, ticketFile, make), 'base64')
  if (keys.length === ticketBytes) return keys
  throw new MeshFault('STATE_INVALID', {
    where: join(folder, ticketFile),
    message: `it does not hold ${ticketBytes} bytes in base64`,
    mend: 'remove it: the next start makes a new one',
  })
}

function writeOnceOr(folder: string, name: string, make: () => string): string {
  return readSecret(folder, name) ?? writeOnce(folder, name, make())
}

function adminHashOf(folder: string, pin: string): Buffer {
  const text = writeOnceOr(folder, adminFile, () => newAdminKey(pin))
  const key = parseAdminKey(text)
  if (key !== null) return hashOfSecret(key.secret)
  throw new MeshFault('STATE_INVALID', {
    where: join(folder, adminFile),
    message: 'it holds no admin key',
    mend: 'remove it: the next start makes a new one',
  })
}
