/**
 * A node's agent: it joins, keeps its device as the coordinator's stream says, and goes on with
 * what it knows when the coordinator is away. Every change takes one way: stream → view → topology
 * → difference → device → disk → report.
 */
import { createHash } from 'node:crypto'
import type { Server } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { CarrierThread } from './carrier.ts'
import { Carriers, type CarryingRelay } from './carriers.ts'
import { CoordinatorClient } from './client.ts'
import type { Device } from './device.ts'
import { dialSocket, writeMode } from './dial.ts'
import type { NodeRecord, Report } from './entry.ts'
import { Follower } from './following.ts'
import { canForward } from './forwarding.ts'
import { makeFolder } from './folder.ts'
import { type Identity, identityOf, idOf, signRecord, verifiedRecord } from './identity.ts'
import { KeyRing } from './key-ring.ts'
import {
  entranceOf,
  isRelay,
  join,
  type JoinOptions,
  knownMembership,
  recordOf,
  type WaysSaid,
} from './joining.ts'
import { meshLimits } from './limits.ts'
import { type Membership, ViewFile, viewToBegin } from './memory.ts'
import { writeNames } from './names.ts'
import { type MeshMode, openMode, pathWord, type WantedMode } from './mode.ts'
import { NodeTable } from './node-table.ts'
import { isOwnAddress, leadsThroughNat, type Path, pathTo } from './path.ts'
import { locationStatus, pathOf, peerBehind, peerStatus } from './peer-status.ts'
import { noSteps } from './reconcile.ts'
import { candidatesHere, knowsRelays, Relays } from './relays.ts'
import { reasonOf } from '../waf/reason-of.ts'
import { pause } from './retry.ts'
import { Rotation } from './rotation.ts'
import { Locations } from './locations.ts'
import { type MeshStatus, type PeerStatus, serveStatus } from './status.ts'
import { type MeshNode, topology } from './topology.ts'
import { Upkeep } from './upkeep.ts'
import { wake } from './wake.ts'
import { Watch } from './watching.ts'
import type { View } from './view.ts'

/** What `edge mesh up` was told. */
export interface AgentOptions extends JoinOptions {
  readonly interface: string
  readonly mode: WantedMode
  /** Null: what the way to the coordinator lets through. */
  readonly mtu: number | null
  /** The node through which everything goes that is nowhere else; null: none. */
  readonly defaultRoute?: string | null
}

/** What an agent stands on once it is in a mesh. */
interface Parts {
  readonly identity: Identity
  readonly keys: KeyRing
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
  readonly #keys: KeyRing
  readonly #membership: Membership
  readonly #client: CoordinatorClient
  readonly #device: Device
  /** The one that the system allowed. */
  readonly #mode: MeshMode
  readonly #status: Server
  readonly #mtu: number
  readonly #outside: readonly string[]
  readonly #ready = Promise.withResolvers<readonly string[]>()
  readonly #follower: Follower
  readonly #carriers: Carriers
  readonly #carrierThread: CarrierThread
  readonly #table = new NodeTable()
  readonly #viewFile: ViewFile
  readonly #upkeep: Upkeep
  readonly #watch: Watch
  /** Of what was written: in a large mesh the text is most of a megabyte. */
  #namesHash = ''
  #nodes: readonly MeshNode[] = []
  #relays: readonly CarryingRelay[] = []
  #isBehindNat = false
  #watched: ReadonlyMap<string, MeshNode> = new Map()

  private constructor(options: AgentOptions, parts: Parts) {
    this.#options = options
    this.#identity = parts.identity
    this.#keys = parts.keys
    this.#membership = parts.membership
    this.#client = parts.client
    this.#device = parts.device
    this.#mode = parts.mode
    this.#status = parts.status
    this.#outside = parts.path.addresses
    this.#mtu = parts.path.mtu
    this.#viewFile = new ViewFile(options.folder, options.log)
    const { identity, device } = parts
    const { port, endpoint: target, log } = options
    const relays = (): readonly CarryingRelay[] => this.#relays
    const wake = (key: string): void => {
      const named = this.#nodes.filter((one) => one.key === key)
      this.#wake(named).catch((error: unknown) => {
        log.warn({ reason: reasonOf(error) }, 'a relay is not asked')
      })
    }
    const isMember = (who: string): boolean => this.#isMember(who)
    const thread = new CarrierThread({ identity, port, target, isMember, log })
    this.#carrierThread = thread
    this.#carriers = new Carriers({ device, thread, relays, wake, log })
    this.#upkeep = new Upkeep({ device, name: options.name, log })
    this.#watch = new Watch({
      device,
      silentMs: parts.mode === 'kernel' ? meshLimits.silentKernelMs : meshLimits.silentMs,
      watched: () => this.#watched,
      changed: () => this.#plan(),
      wake: (nodes) => this.#wake(nodes),
      log,
    })
    this.#follower = new Follower({
      client: parts.client,
      self: { id: parts.identity.id, name: options.name },
      url: parts.membership.url,
      log: options.log,
      view: viewToBegin(options.folder, options.log),
      apply: async (view) => {
        await this.#bringAbout(view)
        this.#viewFile.keep(view)
      },
      announce: () => this.#announce(),
      joinAgain: () => this.#joinAgain(),
      observe: () => this.#observed(),
    })
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
      const { pin, token } = await entranceOf(options, known, signal)
      // Before a token is spent: what this machine refuses costs nothing.
      const path = await pathTo(options.coordinator, options)
      const { interface: name, port, mode: wanted, advertise: serve, log } = options
      const keys = KeyRing.of(options.folder, identity, Date.now())
      const door = dialSocket(options.folder)
      const { relayBytesPerSecond: bytesPerSecond, relayPairsMax: pairsMax } = meshLimits
      const relay = isRelay(options) ? { relay: { bytesPerSecond, pairsMax } } : {}
      const settings = {
        interface: name,
        ...keys.device,
        port,
        mtu: path.mtu,
        serve,
        door,
        ...relay,
      }
      const guard = options.defaultRoute == null ? {} : guardOf(path)
      const needsRelays = isRelay(options) || (await leadsThroughNat(path.addresses))
      const opened = await openMode({ ...settings, ...guard, wanted, log, needsRelays })
      device = opened.device
      const { mode } = opened
      writeMode(options.folder, mode)
      client = new CoordinatorClient(options.coordinator, pin, identity)
      const ways = waysOf(options, mode, null)
      const membership =
        known ?? (await join(options, { identity, keys, client, pin, token, ways }, signal))
      agent = new Agent(options, { identity, keys, membership, client, path, device, mode, status })
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
        await this.#bringAbout(this.#view)
        await this.#wake(this.#near())
      }
      this.#carry()
      await Promise.all([
        this.#follower.run(both),
        this.#repair(both),
        this.#rotate(both),
        this.#carriers.run(both),
        this.#watch.run(both),
      ])
    } finally {
      ending.abort()
    }
  }

  /** Before it ends: those for whom others stand in leave their flows to them. */
  async handOver(): Promise<void> {
    const { isLeader = false, advertise = [] } = this.#self() ?? {}
    const isShared = this.#others().some((node) =>
      node.advertise.some((range) => advertise.includes(range)),
    )
    if (!this.#follower.isConnected || !(isLeader || isShared)) return
    const { log } = this.#options
    const late = AbortSignal.timeout(meshLimits.handOverMs)
    this.#client.leave().catch((error: unknown) => {
      log.warn({ reason: reasonOf(error) }, 'the coordinator does not hear that this node ends')
    })
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    while (this.#self()?.isAway !== true && !late.aborted)
      await pause(meshLimits.handOverLookMs, late)
    if (this.#self()?.isAway === true)
      await pause(meshLimits.handOverMs, new AbortController().signal)
  }

  /** Packets of this machine find the way into the mesh where there is an interface. */
  async #wake(nodes: readonly MeshNode[]): Promise<void> {
    if (this.#mode === 'netstack') return
    await wake(nodes.flatMap(({ addresses }) => addresses[0] ?? []))
  }

  /** Takes the interface away. */
  async close(): Promise<void> {
    this.#status.close()
    this.#viewFile.close()
    await this.#carrierThread.close()
    await this.#client.close()
    await this.#device.close()
  }

  async status(): Promise<MeshStatus | null> {
    const addresses = this.#selfAddresses()
    if (addresses.length === 0) return null
    const stats = new Map((await this.#device.stats()).map((peer) => [peer.publicKey, peer]))
    const names = new Map(this.#nodes.map(({ key, name }) => [key, name]))
    const self = this.#self()
    const locations = new Locations(this.#nodes, { self, silent: this.#watch.silent })
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
      coordinator: { url, isConnected: this.#follower.isConnected, version: this.#view.version },
      relays: this.#ownRelays().map((relay) => relay.name),
      isRelay: isRelay(this.#options) && knowsRelays(this.#mode),
      location: locationStatus(self, locations),
      peers: this.#others()
        .toSorted((one, other) => (one.name < other.name ? -1 : 1))
        .map((node) => {
          const [leader = node] = locations.waysTo(node)
          const known = { stats: stats.get(leader.key), desired: this.#upkeep.peer(leader.key) }
          if (leader !== node) {
            const missing = locations.missingOf(node.location ?? '')
            return peerBehind(node, leader, { ...known, missing })
          }
          const status = peerStatus(node, known, (key) => names.get(key))
          const place = this.#placeOf(node.key, status.endpoint ?? '')
          return place === null ? status : { ...status, endpoint: place }
        })
        .map((peer) => withWord(peer, pathWord(this.#mode))),
      conflicts: [...this.#upkeep.conflicts],
    }
  }

  get #view(): View {
    return this.#follower.view
  }

  /** The coordinator lost its memory; Kubernetes vouches for this node again. */
  async #joinAgain(): Promise<void> {
    const { credential, log } = this.#options
    if (credential === undefined) return
    const record = this.#recordOf(Date.now())
    await this.#client.join(signRecord(this.#identity, record), credential.token())
    log.info({ coordinator: this.#membership.url }, 'joined again')
  }

  /** Tells the coordinator what differs from what it has. */
  async #announce(): Promise<void> {
    const before = this.#ownRecord()
    if (before === null) return
    const record = this.#recordOf(before.serial + 1)
    if (isDeepStrictEqual({ ...record, serial: before.serial }, before)) return
    await this.#client.update(signRecord(this.#identity, record))
  }

  /** Tells it in any case; whether all who are there know it then. */
  async #announceKeys(): Promise<boolean> {
    const before = this.#ownRecord()
    if (before === null) throw new Error('this node is in no table yet')
    const record = this.#recordOf(before.serial + 1)
    return this.#client.update(signRecord(this.#identity, record))
  }

  #recordOf(serial: number): NodeRecord {
    const ways = waysOf(this.#options, this.#mode, this.#membership)
    return recordOf(this.#options, this.#keys.announced, serial, ways)
  }

  #ownRecord(): NodeRecord | null {
    const own = this.#view.entries.get(this.#identity.id)
    return own === undefined ? null : verifiedRecord(own)
  }

  async #rotate(signal: AbortSignal): Promise<void> {
    const { folder, log } = this.#options
    const rotation = new Rotation({
      folder,
      log,
      keys: this.#keys,
      announce: () => this.#announceKeys(),
      apply: async (keys) => {
        await this.#device.apply({ ...noSteps, ...keys })
      },
      isPreviousUsed: async () =>
        (await this.#device.stats()).some(({ isOnPreviousKey }) => isOnPreviousKey === true),
    })
    await rotation.run(signal)
  }

  /** Makes the device what the view says. */
  async #bringAbout(view: View): Promise<void> {
    this.#nodes = this.#table.of(view)
    const own = view.entries.get(this.#identity.id)
    this.#isBehindNat = this.#options.endpoint === null && !isOwnAddress(own?.observed ?? null)
    await this.#plan()
    this.#relays = this.#carryingRelays(view)
    this.#carrierThread.review()
    this.#writeNames()
    if (own !== undefined) this.#ready.resolve(own.addresses)
  }

  /** The device as the nodes of now, and the silence of some, want it. */
  async #plan(): Promise<void> {
    const desired = topology(this.#nodes, {
      self: this.#identity.id,
      networks: this.#membership.networks,
      outside: this.#outside,
      defaultRoute: this.#options.defaultRoute ?? null,
      isBehindNat: this.#isBehindNat,
      knowsRelays: knowsRelays(this.#mode),
      silent: this.#watch.silent,
    })
    await this.#upkeep.bringAbout(desired)
    const watched = new Set(this.#upkeep.watched)
    const known = watched.size === 0 ? [] : this.#nodes.filter(({ key }) => watched.has(key))
    this.#watched = new Map(known.map((node) => [node.key, node]))
  }

  #isMember(identity: string): boolean {
    return this.#view.entries.has(idOf(identity))
  }

  /** Where a peer is whose packets travel in something else; null: they do not. */
  #placeOf(key: string, endpoint: string): string | null {
    const own = this.#carriers.placeOf(key)
    return own ?? this.#carrierThread.placeOf(endpoint)
  }

  /** Takes packets by HTTP/3 and TCP from nodes that no UDP of WireGuard comes out of. */
  #carry(): void {
    const { tcpPort, h3Port } = waysOf(this.#options, this.#mode, null)
    if (h3Port !== undefined) this.#carrierThread.serve('h3', h3Port)
    if (tcpPort !== undefined) this.#carrierThread.serve('tcp', tcpPort)
  }

  /** Those that serve this node. */
  #ownRelays(): readonly MeshNode[] {
    const self = this.#self()
    return self === undefined || !knowsRelays(this.#mode) ? [] : new Relays(this.#nodes).of(self)
  }

  #carryingRelays(view: View): readonly CarryingRelay[] {
    if (!knowsRelays(this.#mode)) return []
    const { id } = this.#identity
    const own = this.#ownRelays()
    return this.#nodes.flatMap((node) => {
      const { key, name, endpoint, ways } = node
      const { identity } = view.entries.get(node.id) ?? {}
      if (node.id === id || ways?.isRelay !== true) return []
      const { h3Port = null, tcpPort = null } = ways
      if (h3Port === null && tcpPort === null) return []
      if (endpoint === null || identity === undefined) return []
      return [{ key, name, identity, endpoint, h3Port, tcpPort, isOwn: own.includes(node) }]
    })
  }

  #writeNames(): void {
    const names = this.#nodes.map(({ name, addresses }) => [name, addresses] as const)
    const hash = createHash('sha256').update(JSON.stringify(names)).digest('base64')
    if (hash === this.#namesHash) return
    try {
      writeNames(this.#options.folder, Object.fromEntries(names))
      this.#namesHash = hash
    } catch (error) {
      // On a full disk the mesh works on; with the next change it is tried again.
      this.#options.log.warn({ reason: reasonOf(error) }, 'the names of nodes are not written')
    }
  }

  /** What the kernel refused may be possible now, and the interface may be gone. */
  async #repair(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(meshLimits.repairIntervalMs, signal)
      if (signal.aborted) return
      await this.#device.stats()
      await this.#upkeep.repair()
    }
  }

  /** The peers that this node hears from, for the coordinator's picture. */
  async #observed(): Promise<Pick<Report, 'peers'>> {
    const heard = (await this.#device.stats())
      .filter(({ lastHandshakeMs }) => lastHandshakeMs !== null)
      .toSorted((one, other) => Number(one.lastHandshakeMs) - Number(other.lastHandshakeMs))
    const peers = heard.slice(0, meshLimits.reportPeersMax).map((peer) => {
      const { publicKey: key, lastHandshakeMs, receivedBytes, sentBytes } = peer
      return { key, path: pathOf(peer), lastHandshakeMs, receivedBytes, sentBytes }
    })
    return { peers }
  }

  /** Those to whom a packet goes by itself. */
  #near(): readonly MeshNode[] {
    const hasAddresses = ({ key }: MeshNode): boolean =>
      (this.#upkeep.peer(key)?.allowedIps.length ?? 0) > 0
    return this.#others().filter(hasAddresses)
  }

  #self(): MeshNode | undefined {
    return this.#nodes.find(({ id }) => id === this.#identity.id)
  }

  #others(): readonly MeshNode[] {
    return this.#nodes.filter(({ id }) => id !== this.#identity.id)
  }

  #selfAddresses(): readonly string[] {
    return this.#view.entries.get(this.#identity.id)?.addresses ?? []
  }
}

/** What keeps the device's own packets, and the way to the coordinator, out of a default route. */
function guardOf({ addresses: outside }: Path): { mark: number; outside: readonly string[] } {
  return { mark: meshLimits.packetMark, outside }
}

function withWord(peer: PeerStatus, word: string): PeerStatus {
  return peer.whyNotDirect === null ? peer : { ...peer, whyNotDirect: peer.whyNotDirect + word }
}

/** What a node's device can do beside WireGuard. */
function waysOf(options: AgentOptions, mode: MeshMode, known: Membership | null): WaysSaid {
  const forwards = options.isLeader !== false && canForward(mode, options.interface)
  if (!knowsRelays(mode)) return { forwards }
  const candidates = [...candidatesHere(options.port, known?.networks ?? null)]
  if (!isRelay(options)) return { candidates, forwards }
  const { tcpPort = null, h3Port = null } = options
  const byTcp = tcpPort === null ? {} : { tcpPort }
  const byH3 = h3Port === null ? {} : { h3Port }
  return { candidates, forwards, isRelay: true, ...byTcp, ...byH3 }
}
