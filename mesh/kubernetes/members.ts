/**
 * Who of the registry is there because of Kubernetes: nodes whose agents it vouched for, and peers
 * that somebody wrote down. What it no longer has goes; other members are none of its concern.
 */
import { z } from 'zod'
import type { Candidate, Registry } from '../coordinator/registry.ts'
import { type Entry, type NodeRecord, parseEndpoint } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { readState, writeSecret } from '../folder.ts'
import { idOf, passingIdentity, signRecord, verifiedRecord } from '../identity.ts'
import { nodeOf } from '../node.ts'
import type { MeshNode } from '../topology.ts'
import { type Claim, ClaimFault, claimOfNode, claimOfSpec, isSameClaim } from './claims.ts'
import { type ClusterNode, type PeerObject, podRanges } from './objects.ts'
import { managedLabel, manager } from './terms.ts'

/** Why a member is in: the agent of a Node, its annotations alone, or an object. */
const origins = ['agent', 'annotation', 'peer', 'gateway'] as const
export type Origin = (typeof origins)[number]

const fileName = 'kubernetes.json'
const kept = z.record(z.string(), z.enum(origins))

/** A node of the mesh that Kubernetes brought in. */
export interface Member {
  readonly origin: Origin
  readonly entry: Entry
  readonly record: NodeRecord
  readonly node: MeshNode
}

/** What the cluster has. */
export interface Cluster {
  readonly nodes: readonly ClusterNode[]
  readonly peers: readonly PeerObject[]
  readonly gateways: readonly PeerObject[]
}

/** Why what is written is not in the mesh, by its origin and name: `peer/phone`. */
export type Refusals = ReadonlyMap<string, { readonly reason: string; readonly message: string }>

/** What members stand on. */
export interface MembersOptions {
  readonly registry: Registry
  /** The coordinator's, for its own tokens. */
  readonly pin: string
  readonly folder: string
  /** Ranges that agents may advertise by themselves, beside those of their pods. */
  readonly advertise: readonly string[]
  /** Whether annotations alone make a peer, as seed 003's agents write them. */
  readonly annotatedNodes: boolean
  /** The label of a Node that says where it stands; null: nobody says. */
  readonly locationLabel: string | null
}

const tokenLifeMs = 60_000
/** A token of a node can come before the watch tells of that node. */
const newNodeMs = 30_000

export class Members {
  readonly #options: MembersOptions
  readonly #admittedMs = new Map<string, number>()
  readonly #origins: Map<string, Origin>
  /** A record's signature is checked once; entries are never changed, only replaced. */
  readonly #verified = new WeakMap<Entry, Omit<Member, 'origin'> | 'nobody'>()

  constructor(options: MembersOptions) {
    this.#options = options
    const found = readState(options.folder, fileName, kept)
    this.#origins = new Map(Object.entries(found ?? {}))
  }

  /** Every node of the mesh, whoever brought it in. */
  nodes(): readonly MeshNode[] {
    const { nodes } = this.#options.registry.snapshot()
    return nodes.flatMap((entry) => this.#known(entry)?.node ?? [])
  }

  /** Those of Kubernetes by name. */
  all(): ReadonlyMap<string, Member> {
    const { nodes } = this.#options.registry.snapshot()
    const found = nodes.flatMap((entry): [string, Member][] => {
      const known = this.#known(entry)
      const origin = known === null ? undefined : this.#origins.get(known.record.name)
      return known === null || origin === undefined
        ? []
        : [[known.record.name, { origin, ...known }]]
    })
    return new Map(found)
  }

  /** A token of ours for the agent of a node; who had its name before is out. */
  admit(name: string, { record, identity }: Candidate, nowMs: number): string {
    if (record.name !== name) {
      throw new MeshFault('NAME_OTHER', {
        where: '--name',
        message: `the token is bound to the node ${name}`,
        mend: `write --name ${name}: spec.nodeName by the downward API`,
      })
    }
    const before = this.#entryOf(name)
    // Its folder was lost, or somebody else took a node's name: that name is the node's.
    if (before !== undefined && before.id !== idOf(identity)) this.#options.registry.remove(name)
    this.#keep(name, 'agent')
    this.#admittedMs.set(name, nowMs)
    const { advertise, registry } = this.#options
    // A token without ranges would allow any; what nobody may advertise allows none.
    return this.#token(nowMs, advertise.length > 0 ? advertise : [registry.networks.ipv4])
  }

  /** Takes nodes in again that the objects know and this folder does not. */
  restore({ nodes, peers }: Cluster, nowMs: number): number {
    const names = new Set(nodes.map(({ metadata }) => metadata.name))
    const lost = peers
      .filter(isManaged)
      .filter(({ metadata: { name } }) => names.has(name) && this.#entryOf(name) === undefined)
      .toSorted((one, other) => (one.spec.signed?.since ?? 0) - (other.spec.signed?.since ?? 0))
    return lost.filter((peer) => this.#restored(peer, nowMs)).length
  }

  /** Makes the registry follow the cluster; what is refused is told, and harms nothing else. */
  async follow(cluster: Cluster, nowMs: number): Promise<Refusals> {
    const { registry, annotatedNodes } = this.#options
    const refusals = new Map<string, { reason: string; message: string }>()
    const wanted = new Map<string, readonly [Origin, () => Claim | null]>()
    const nodes = new Map(cluster.nodes.map((node) => [node.metadata.name, node]))
    const own = (peer: PeerObject): boolean => !isManaged(peer)
    const objects = [
      ...cluster.peers.filter(own).map((one) => ['peer', one] as const),
      ...cluster.gateways.filter(own).map((one) => ['gateway', one] as const),
    ]
    for (const [origin, { metadata, spec }] of objects) {
      const isNode = nodes.has(metadata.name)
      if (!isNode && !wanted.has(metadata.name)) {
        wanted.set(metadata.name, [origin, () => claimOfSpec(spec)])
        continue
      }
      const message = `a ${isNode ? 'node of the cluster' : 'Peer'} has this name`
      refusals.set(`${origin}/${metadata.name}`, { reason: 'NameTaken', message })
    }
    for (const [name, node] of annotatedNodes ? nodes : []) {
      if (this.#origins.get(name) !== 'agent') {
        wanted.set(name, ['annotation', () => claimOfNode(node)])
      }
    }
    for (const [name, origin] of this.#origins) {
      const isNew = nowMs - (this.#admittedMs.get(name) ?? 0) < newNodeMs
      const isThere =
        origin === 'agent' ? isNew || nodes.has(name) : wanted.get(name)?.[0] === origin
      if (!isThere) this.#leave(name)
    }
    for (const [name, [origin, claim]] of wanted) {
      // oxlint-disable-next-line no-await-in-loop -- keys are made one after the other
      const refusal = await this.#enter(name, { origin, claim, nowMs })
      if (refusal !== null) refusals.set(`${origin}/${name}`, refusal)
    }
    for (const [name, { origin, entry }] of this.all()) {
      const node = nodes.get(name)
      if (origin !== 'agent' || node === undefined) continue
      registry.grant(entry.id, podRanges(node))
      registry.mark(entry.id, { location: this.#locationOf(node) })
    }
    return refusals
  }

  /** Undefined: nowhere in particular. */
  #locationOf({ metadata: { labels = {} } }: ClusterNode): string | undefined {
    const { locationLabel } = this.#options
    const value = locationLabel === null ? '' : (labels[locationLabel] ?? '')
    return value === '' ? undefined : value
  }

  async #enter(
    name: string,
    want: { readonly origin: Origin; readonly claim: () => Claim | null; readonly nowMs: number },
  ): Promise<{ reason: string; message: string } | null> {
    try {
      const claim = want.claim()
      const member = this.all().get(name)
      if (claim === null) {
        if (member?.origin === want.origin) this.#leave(name)
        return null
      }
      if (member?.origin === want.origin) {
        if (isSameClaim(claim, member.record)) return null
        this.#leave(name)
      }
      await this.#join(name, claim, want.nowMs)
      this.#keep(name, want.origin)
      return null
    } catch (error) {
      if (error instanceof ClaimFault) return { reason: 'Invalid', message: error.message }
      if (error instanceof MeshFault)
        return { reason: reasonText(error.code), message: error.message }
      throw error
    }
  }

  /** Under an identity that nobody keeps: what is written down later comes as another one. */
  async #join(name: string, claim: Claim, nowMs: number): Promise<void> {
    const { registry } = this.#options
    const own = await passingIdentity()
    const record = { name, ...claim, advertise: [...claim.advertise], serial: nowMs }
    const candidate = {
      identity: own.identity,
      signed: signRecord(own, record),
      record,
      observed: null,
    }
    registry.join(candidate, this.#token(nowMs, []), nowMs)
  }

  #restored(
    { metadata: { name }, spec: { signed, endpoint } }: PeerObject,
    nowMs: number,
  ): boolean {
    const record = signed === undefined ? null : verifiedRecord(signed)
    if (signed === undefined || record?.name !== name) return false
    const observed = endpoint === undefined ? null : (parseEndpoint(endpoint)?.address ?? null)
    const candidate = { identity: signed.identity, signed, record, observed }
    try {
      this.#options.registry.join(
        { ...candidate, signed: { record: signed.record, signature: signed.signature } },
        this.#token(nowMs, []),
        nowMs,
      )
    } catch (error) {
      if (error instanceof MeshFault) return false // it joins again by itself
      throw error
    }
    this.#keep(name, 'agent')
    return true
  }

  #leave(name: string): void {
    if (this.#entryOf(name) !== undefined) this.#options.registry.remove(name)
    this.#origins.delete(name)
    this.#admittedMs.delete(name)
    this.#write()
  }

  #keep(name: string, origin: Origin): void {
    if (this.#origins.get(name) === origin) return
    this.#origins.set(name, origin)
    this.#write()
  }

  #write(): void {
    writeSecret(this.#options.folder, fileName, JSON.stringify(Object.fromEntries(this.#origins)))
  }

  #token(nowMs: number, cidrs: readonly string[]): string {
    const { registry, pin } = this.#options
    const order = { pin, uses: 1, labels: {}, nowMs, expiresAtMs: nowMs + tokenLifeMs }
    return registry.createToken({ ...order, cidrs })
  }

  #entryOf(name: string): Entry | undefined {
    const { nodes } = this.#options.registry.snapshot()
    return nodes.find((entry) => this.#known(entry)?.record.name === name)
  }

  #known(entry: Entry): Omit<Member, 'origin'> | null {
    let known = this.#verified.get(entry)
    if (known === undefined) {
      const record = verifiedRecord(entry)
      const node = nodeOf(entry)
      known = record === null || node === null ? 'nobody' : { entry, record, node }
      this.#verified.set(entry, known)
    }
    return known === 'nobody' ? null : known
  }
}

/** Made by us from what a node signed. */
export function isManaged({ metadata }: PeerObject): boolean {
  return metadata.labels?.[managedLabel] === manager
}

/** `NAME_TAKEN` as conditions write it. */
function reasonText(code: string): string {
  return code
    .toLowerCase()
    .replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
