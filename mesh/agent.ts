/**
 * A node's agent: it joins, keeps its device as the coordinator's stream says, and goes on with
 * what it knows when the coordinator is away. Every change takes one way: stream → view → topology
 * → difference → device → disk → report.
 */
import { lookup } from 'node:dns/promises'
import type { Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../waf/reason-of.ts'
import { CoordinatorClient, type StreamEvent } from './client.ts'
import { type Device, linkMtu, type PeerStats } from './device.ts'
import { dialSocket, writeMode } from './dial.ts'
import type { NodeRecord } from './entry.ts'
import { MeshFault } from './fault.ts'
import { makeFolder } from './folder.ts'
import { type Identity, identityOf, signRecord, verifiedRecord } from './identity.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { type Membership, readMembership, readView, writeMembership, writeView } from './memory.ts'
import { writeNames } from './names.ts'
import { type MeshMode, openMode, type WantedMode } from './mode.ts'
import { nodeOf } from './node.ts'
import { afterApplying, type Applied, nothingApplied, reconcile } from './reconcile.ts'
import { type MeshStatus, type PeerStatus, serveStatus } from './status.ts'
import { parseToken } from './token.ts'
import { type Conflict, type Desired, type MeshNode, topology } from './topology.ts'
import { wake } from './wake.ts'
import { emptyView, type View, viewOf, withDelta } from './view.ts'

/** What `edge mesh up` was told. */
export interface AgentOptions {
  readonly coordinator: string
  /** Null: it joined before. */
  readonly token: string | null
  readonly name: string
  readonly folder: string
  readonly interface: string
  readonly mode: WantedMode
  readonly port: number
  /** Null: what the way to the coordinator lets through. */
  readonly mtu: number | null
  readonly advertise: readonly string[]
  readonly endpoint: string | null
  readonly log: Log
}

/** A session without a handshake for this long is none (WireGuard's REJECT_AFTER_TIME). */
const sessionMs = 180_000

/** What an agent stands on once it is in a mesh. */
interface Parts {
  readonly identity: Identity
  readonly membership: Membership
  readonly client: CoordinatorClient
  readonly path: Path
  readonly device: Device
  readonly mode: MeshMode
  readonly status: Server
}

export class Agent {
  readonly #options: AgentOptions
  readonly #identity: Identity
  readonly #membership: Membership
  readonly #client: CoordinatorClient
  readonly #device: Device
  /** The one that the system allowed. */
  readonly #mode: MeshMode
  readonly #status: Server
  readonly #mtu: number
  readonly #outside: readonly string[]
  readonly #ready = Promise.withResolvers<readonly string[]>()
  /** What the device follows, and what the next changes are to begin from: the same, mostly. */
  #view: View
  #base: View
  #nodes: readonly MeshNode[] = []
  #desired: Desired | null = null
  #applied: Applied = nothingApplied
  #refused: readonly Conflict[] = []
  #isConnected = false

  private constructor(options: AgentOptions, parts: Parts) {
    this.#options = options
    this.#identity = parts.identity
    this.#membership = parts.membership
    this.#client = parts.client
    this.#device = parts.device
    this.#mode = parts.mode
    this.#status = parts.status
    this.#outside = parts.path.addresses
    this.#mtu = parts.path.mtu
    this.#view = readView(options.folder)
    this.#base = this.#view
  }

  /** Joins where it has not, and opens the device. Refusals are `MeshFault`s. */
  static async start(options: AgentOptions, signal: AbortSignal): Promise<Agent> {
    makeFolder(options.folder)
    let agent: Agent | null = null
    // First of all: two agents with one identity would take each other's stream.
    const status = await serveStatus(options.folder, async () => (await agent?.status()) ?? null)
    let client: CoordinatorClient | null = null
    let device: Device | null = null
    try {
      const identity = await identityOf(options.folder)
      const known = knownMembership(options)
      const pin = known?.pin ?? pinFor(options)
      // Before a token is spent: what this machine refuses costs nothing.
      const path = await pathTo(options)
      const { interface: name, port, mode: wanted, advertise: serve, log } = options
      const { privateKey } = identity.wireguard
      const door = dialSocket(options.folder)
      const settings = { interface: name, privateKey, port, mtu: path.mtu, serve, door }
      const opened = await openMode({ ...settings, wanted, log })
      device = opened.device
      writeMode(options.folder, opened.mode)
      client = new CoordinatorClient(options.coordinator, pin, identity)
      const membership = known ?? (await join(options, { identity, client, pin }, signal))
      const { mode } = opened
      agent = new Agent(options, { identity, membership, client, path, device, mode, status })
      return agent
    } catch (error) {
      status.close()
      await client?.close()
      await device?.close()
      throw error
    }
  }

  /** The node's addresses, once the device has them. */
  get ready(): Promise<readonly string[]> {
    return this.#ready.promise
  }

  /** The name of the node's interface; `none` in a mode that has none. */
  get interface(): string {
    return this.#mode === 'netstack' ? 'none' : this.#options.interface
  }

  /** Until the signal; fails when the device is gone or the node was removed from the mesh. */
  async run(signal: AbortSignal): Promise<void> {
    const ending = new AbortController()
    const both = AbortSignal.any([signal, ending.signal])
    try {
      if (this.#view.entries.has(this.#identity.id)) {
        await this.#bringAbout()
        await wake(this.#others().flatMap(({ addresses }) => addresses[0] ?? []))
      }
      await Promise.all([this.#follow(both), this.#repair(both)])
    } finally {
      ending.abort()
    }
  }

  /** Takes the interface away. */
  async close(): Promise<void> {
    this.#status.close()
    await this.#client.close()
    await this.#device.close()
  }

  async status(): Promise<MeshStatus | null> {
    const addresses = this.#selfAddresses()
    if (addresses.length === 0) return null
    const stats = new Map((await this.#device.stats()).map((peer) => [peer.publicKey, peer]))
    const { name, port } = this.#options
    const { url } = this.#membership
    return {
      self: {
        name,
        addresses: [...addresses],
        interface: this.interface,
        mode: this.#mode,
        mtu: this.#mtu,
        port,
      },
      coordinator: { url, isConnected: this.#isConnected, version: this.#view.version },
      peers: this.#others()
        .toSorted((one, other) => (one.name < other.name ? -1 : 1))
        .map((node) => peerStatus(node, stats.get(node.key))),
      conflicts: [...(this.#desired?.conflicts ?? []), ...this.#refused],
    }
  }

  /** Follows the stream, again and again; the device stays as it is in between. */
  async #follow(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        for await (const event of this.#client.watch(this.#base, signal)) {
          failures = 0
          await this.#take(event)
        }
      } catch (error) {
        if (error instanceof MeshFault && isFinal(error)) throw error
        if (!signal.aborted) this.#tellAway(error)
      }
      this.#isConnected = false
      failures += 1
      await pause(retryMs(failures), signal)
    }
  }

  #tellAway(error: unknown): void {
    const mend = error instanceof MeshFault ? { mend: error.mend } : {}
    const fields = { coordinator: this.#membership.url, reason: reasonOf(error), ...mend }
    this.#options.log.warn(fields, 'the coordinator is away or refuses; the mesh stays as it is')
  }

  async #take(event: StreamEvent): Promise<void> {
    if (event.kind === 'hello') {
      this.#isConnected = true
      this.#options.log.info({ coordinator: this.#membership.url }, 'connected to the coordinator')
      return
    }
    this.#base = this.#changed(event)
    this.#view = this.#base
    await this.#bringAbout()
    writeView(this.#options.folder, this.#view)
    await this.#client.report(this.#view.version)
    await this.#announce()
  }

  #changed(event: Exclude<StreamEvent, { kind: 'hello' }>): View {
    if (event.kind === 'snapshot') return viewOf(event.snapshot)
    if (event.delta.remove.includes(this.#identity.id)) throw removed(this.#options.name)
    const next = withDelta(this.#base, event.delta)
    if (next !== null) return next
    this.#base = emptyView // the next attempt begins anew; the device stays as it is until then
    throw new Error('the changes do not fit what is known here')
  }

  /** Tells the coordinator when flags of this start differ from what it has. */
  async #announce(): Promise<void> {
    const own = this.#view.entries.get(this.#identity.id)
    const before = own === undefined ? null : verifiedRecord(own)
    if (before === null) return
    const record = recordOf(this.#options, this.#identity, before.serial + 1)
    if (JSON.stringify({ ...record, serial: before.serial }) === JSON.stringify(before)) return
    await this.#client.update(signRecord(this.#identity, record))
  }

  /** Makes the device what the view says. */
  async #bringAbout(): Promise<void> {
    this.#nodes = [...this.#view.entries.values()].flatMap((entry) => nodeOf(entry) ?? [])
    const own = this.#view.entries.get(this.#identity.id)
    this.#desired = topology(this.#nodes, {
      self: this.#identity.id,
      networks: this.#membership.networks,
      outside: this.#outside,
      isBehindNat: this.#options.endpoint === null && !isOwnAddress(own?.observed ?? null),
    })
    await this.#reconcile()
    const names = this.#nodes.map(({ name, addresses }) => [name, addresses] as const)
    writeNames(this.#options.folder, Object.fromEntries(names))
    const addresses = this.#selfAddresses()
    if (addresses.length > 0) this.#ready.resolve(addresses)
  }

  async #reconcile(): Promise<void> {
    if (this.#desired === null) return
    const delta = reconcile(this.#applied, this.#desired)
    if (delta === null) return
    const refused = await this.#device.apply(delta)
    this.#applied = afterApplying(this.#desired, new Set(refused.map(({ network }) => network)))
    const before = new Set(this.#refused.map(({ prefix }) => prefix))
    this.#refused = refused.map(({ network: prefix, reason }) => {
      const node = this.#options.name
      if (!before.has(prefix)) this.#options.log.warn({ prefix, reason }, 'a range is not routed')
      return { node, prefix, reason }
    })
  }

  /** What the kernel refused may be possible now, and the interface may be gone. */
  async #repair(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(meshLimits.repairIntervalMs, signal)
      if (signal.aborted) return
      await this.#device.stats()
      await this.#reconcile()
    }
  }

  #others(): readonly MeshNode[] {
    return this.#nodes.filter(({ id }) => id !== this.#identity.id)
  }

  #selfAddresses(): readonly string[] {
    return this.#view.entries.get(this.#identity.id)?.addresses ?? []
  }
}

/** Where the coordinator is, and what fits through the way to it. */
interface Path {
  readonly addresses: readonly string[]
  readonly mtu: number
}

async function pathTo({ coordinator, mtu, log }: AgentOptions): Promise<Path> {
  const host = new URL(coordinator).hostname.replace(/^\[(.*)\]$/, '$1')
  const found = await lookup(host, { all: true }).catch(() => [])
  const addresses = found.map(({ address }) => address)
  const links = await Promise.all(addresses.map((address) => linkMtu(address)))
  // The loopback's is no link's.
  const least = Math.min(...links.filter((link) => link !== null && link < 65_536).map(Number))
  const { mtuMin, tunnelOverheadBytes } = meshLimits
  const fits = least - tunnelOverheadBytes
  if (mtu !== null && mtu > fits) {
    throw new MeshFault('MTU_INVALID', {
      where: '--mtu',
      message: `${mtu} and ${tunnelOverheadBytes} bytes around do not fit into the link's ${least}`,
      mend: `write at most ${fits}, or leave the flag away`,
    })
  }
  const chosen = mtu ?? Math.max(mtuMin, Math.min(mtuDefault, fits))
  log.info({ mtu: chosen, link: Number.isFinite(least) ? least : null }, 'the MTU of the mesh')
  return { addresses, mtu: chosen }
}

/** What fits through an Ethernet, and what every other node's device takes. */
const mtuDefault = 1_420

function knownMembership({ folder, name, coordinator }: AgentOptions): Membership | null {
  const known = readMembership(folder)
  if (known === null || known.name === name)
    return known === null ? null : { ...known, url: coordinator }
  throw new MeshFault('NAME_OTHER', {
    where: '--name',
    message: `this folder belongs to the node ${known.name}`,
    mend: `write --name ${known.name}, or name another folder and join with a new token`,
  })
}

function pinFor({ token }: AgentOptions): string {
  const parsed = token === null ? null : parseToken(token)
  if (parsed !== null) return parsed.pin
  throw new MeshFault(token === null ? 'TOKEN_MISSING' : 'TOKEN_MALFORMED', {
    where: '--token',
    message: token === null ? 'the first start needs one' : 'it is not a token',
    mend: 'make one at the coordinator: edge mesh token',
  })
}

/** Asks until there is an answer; a refusal is one. */
async function join(
  options: AgentOptions,
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
      if (error instanceof MeshFault || signal.aborted) throw error
      log.warn({ coordinator: url, reason: reasonOf(error) }, 'the coordinator does not answer')
    }
    await pause(retryMs(failures), signal)
    signal.throwIfAborted()
  }
}

function recordOf(options: AgentOptions, identity: Identity, serial: number): NodeRecord {
  const { name, port, endpoint, advertise } = options
  const key = identity.wireguard.publicKey
  return { name, key, port, endpoint, advertise: [...advertise], serial }
}

function peerStatus(node: MeshNode, stats: PeerStats | undefined): PeerStatus {
  const { lastHandshakeMs = null, receivedBytes = 0, sentBytes = 0 } = stats ?? {}
  return {
    name: node.name,
    addresses: [...node.addresses],
    path: lastHandshakeMs !== null && lastHandshakeMs < sessionMs ? 'direct' : 'none',
    endpoint: stats?.endpoint ?? node.endpoint,
    lastHandshakeMs,
    receivedBytes,
    sentBytes,
  }
}

/** Whether others see this machine under an address that it has: no NAT is between. */
function isOwnAddress(observed: string | null): boolean {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return own.some(({ address }) => address === observed)
}

function removed(name: string): MeshFault {
  return new MeshFault('NODE_REMOVED', {
    where: name,
    message: 'this node was removed from the mesh',
    mend: 'to be in it again: empty the folder of state and join with a new token',
  })
}

/** Faults that no waiting mends. A coordinator that forgot us may remember again. */
function isFinal({ code }: MeshFault): boolean {
  return ['NODE_REMOVED', 'INTERFACE_GONE'].includes(code)
}

/** Full jitter: many agents must not come back together. */
function retryMs(failures: number): number {
  return Math.min(200 * 2 ** Math.min(failures, 16), meshLimits.retryMsMax) * Math.random() + 50
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: true }).catch(() => undefined)
}
