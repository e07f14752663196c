/**
 * The coordinator's side towards Kubernetes: it follows Nodes, Peers and Gateways by watch, lets
 * the registry follow them, and writes what the mesh is: annotations of Nodes, the ConfigMap for
 * agents and proxies, Peers with conditions. It is the only program of the mesh with rights on the
 * API, and it writes nothing that is so already.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Api, ApiError } from '../../kubernetes/api.ts'
import { Backoff } from '../../kubernetes/backoff.ts'
import { Reflector } from '../../kubernetes/reflector.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import type { Admit } from '../coordinator/server.ts'
import { meshNetworks, type MeshNetworks } from '../entry.ts'
import { namesFile } from '../names.ts'
import type { Log } from '../log.ts'
import { Admission, type AdmissionOptions } from './admission.ts'
import {
  type Cluster,
  isManaged,
  type Member,
  Members,
  type MembersOptions,
  type Refusals,
} from './members.ts'
import { type ClusterNode, type PeerObject, read } from './objects.ts'
import {
  annotationsOf,
  forgedKeys,
  isShown,
  isTold,
  peerSpecOf,
  type Share,
  sharesOf,
  statusOf,
} from './picture.ts'
import { annotations, group, groupVersion, managedLabel, manager } from './terms.ts'

/** What an adapter stands on. */
export interface AdapterOptions extends MembersOptions, AdmissionOptions {
  readonly api: Api
  readonly namespace: string
  /** The ConfigMap that agents and proxies mount. */
  readonly configMap: string
  readonly log: Log
}

/** Changes come in bursts. */
const settleMs = 100
/** A pass over 10,000 nodes takes a second: it is to take a tenth of a core at the most. */
const idlePerPass = 9
/** How often the registry is asked whether it changed, and all is looked at again anyway. */
const lookMs = 500
const againMs = 30_000
/** Requests under way. */
const writesMax = 16
/** Of a ConfigMap: etcd keeps objects below 1.5 MiB, the API server below 1 MiB. */
const namesBytesMax = 900 * 1024

type Write = () => Promise<unknown>

/** The mesh at the moment of a pass. */
interface Now {
  readonly members: ReadonlyMap<string, Member>
  readonly shares: ReadonlyMap<string, Share>
  readonly refusals: Refusals
}

export class Adapter {
  readonly #options: AdapterOptions
  readonly #members: Members
  readonly #admission: Admission
  readonly #nodes: Reflector<ClusterNode>
  readonly #peers: Reflector<PeerObject>
  readonly #gateways: Reflector<PeerObject>
  /** What we wrote last: only another key than that is a forged one. */
  readonly #keys = new Map<string, string>()
  readonly #forgedAt = new Map<string, string>()
  readonly #ignored = new Map<string, string>()
  #shared = ''
  #isDirty = true
  #seenVersion = -1
  /** How long the newest pass took to see what is to be written. */
  #judgedMs = 0

  constructor(options: AdapterOptions) {
    this.#options = options
    this.#members = new Members(options)
    this.#admission = new Admission(options.api, options)
    const { api, log, namespace } = options
    const onChange = (): void => void (this.#isDirty = true)
    const kind = <T>(resource: string, path: string, one: (json: unknown) => T) =>
      ({ resource, path: `${path}/${resource}`, selector: '', read: one }) as const
    const own = `/apis/${groupVersion}/namespaces/${namespace}`
    this.#nodes = new Reflector(kind('nodes', '/api/v1', read.node), api, { log, onChange })
    this.#peers = new Reflector(kind('peers', own, read.peer), api, { log, onChange })
    this.#gateways = new Reflector(kind('gateways', own, read.peer), api, { log, onChange })
  }

  /** Lets the agent of a node in on the word of the API server. */
  get admit(): Admit {
    return async (token, candidate) => {
      const node = await this.#admission.nodeOf(token)
      return node === null ? null : this.#members.admit(node, candidate, Date.now())
    }
  }

  /** Whether all was seen once. */
  get isSynced(): boolean {
    return [this.#nodes, this.#peers, this.#gateways].every(({ isSynced }) => isSynced)
  }

  /** Until the signal; never throws. `onReady` is called when the registry knows what was known. */
  async run(signal: AbortSignal, onReady: () => void): Promise<void> {
    const kinds = [this.#nodes, this.#peers, this.#gateways]
    await Promise.all([...kinds.map((kind) => kind.run(signal)), this.#follow(signal, onReady)])
  }

  async #follow(signal: AbortSignal, onReady: () => void): Promise<void> {
    const { log } = this.#options
    const pause = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined)
    // oxlint-disable-next-line no-await-in-loop -- it looks again and again
    while (!this.isSynced && !signal.aborted) await pause(settleMs)
    if (signal.aborted) return
    const restored = this.#members.restore(this.#cluster(), Date.now())
    log.info({ restored }, 'the cluster is known')
    onReady()
    const backoff = new Backoff()
    for (let passedMs = 0; !signal.aborted;) {
      const isDue = performance.now() - passedMs > againMs
      if (!isDue && !this.#isDirty && this.#options.registry.version === this.#seenVersion) {
        // oxlint-disable-next-line no-await-in-loop
        await pause(lookMs)
        continue
      }
      // oxlint-disable-next-line no-await-in-loop
      await pause(Math.max(settleMs, this.#judgedMs * idlePerPass))
      this.#isDirty = false
      passedMs = performance.now()
      // oxlint-disable-next-line no-await-in-loop -- one pass after the other
      if (await this.#pass()) {
        backoff.reset()
        continue
      }
      this.#isDirty = true
      // oxlint-disable-next-line no-await-in-loop
      await pause(backoff.nextMs())
    }
  }

  #cluster(): Cluster {
    return {
      nodes: this.#nodes.all(),
      peers: this.#peers.all(),
      gateways: this.#gateways.all(),
    }
  }

  /** False when something could not be written. */
  async #pass(): Promise<boolean> {
    const { registry, log } = this.#options
    const cluster = this.#cluster()
    const begunMs = performance.now()
    try {
      const refusals = await this.#members.follow(cluster, Date.now())
      this.#seenVersion = registry.version
      const shares = sharesOf(this.#members.nodes(), registry.networks)
      const now = { members: this.#members.all(), shares, refusals }
      const writes = [
        ...this.#sharedWrites(),
        ...cluster.nodes.flatMap((node) => this.#nodeWrites(node, now)),
        ...this.#peerWrites(cluster, now),
      ]
      this.#judgedMs = performance.now() - begunMs
      return await this.#write(writes)
    } catch (error) {
      log.error({ reason: reasonOf(error) }, 'the mesh could not follow the cluster')
      return false
    }
  }

  async #write(writes: readonly Write[]): Promise<boolean> {
    let isDone = true
    for (let at = 0; at < writes.length; at += writesMax) {
      // oxlint-disable-next-line no-await-in-loop -- so many at once and no more
      const done = await Promise.all(writes.slice(at, at + writesMax).map((one) => this.#try(one)))
      isDone = isDone && done.every(Boolean)
    }
    return isDone
  }

  async #try(write: Write): Promise<boolean> {
    try {
      await write()
      return true
    } catch (error) {
      // It is gone, or another one by now: the watch tells.
      if (error instanceof ApiError && [404, 409].includes(error.status)) return true
      this.#options.log.error({ reason: reasonOf(error) }, 'could not be written to the cluster')
      return false
    }
  }

  /** What agents and proxies need to know, in files of their pods. */
  #sharedWrites(): Write[] {
    const { api, namespace, configMap, pin, registry, log } = this.#options
    const names = this.#members.nodes().map(({ name, addresses }) => [name, addresses])
    const text = JSON.stringify(Object.fromEntries(names))
    if (Buffer.byteLength(text) > namesBytesMax) {
      log.warn({ nodes: names.length, namesBytesMax }, 'too many names for a ConfigMap')
      return []
    }
    if (text === this.#shared) return []
    const body = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: configMap, namespace },
      data: { pin, networks: JSON.stringify(registry.networks), [namesFile]: text },
    }
    const path = `/api/v1/namespaces/${namespace}/configmaps/${configMap}`
    return [
      async () => {
        await api.apply(path, manager, body)
        this.#shared = text
      },
    ]
  }

  #nodeWrites(node: ClusterNode, { members, shares }: Now): Write[] {
    const { name } = node.metadata
    const shown = node.metadata.annotations ?? {}
    const member = members.get(name)
    if (member?.origin !== 'agent') {
      if (shown[annotations.id] !== undefined) return [() => this.#annotate(node, {})]
      return member === undefined ? this.#ignoredWrites(node) : []
    }
    const share = shares.get(member.node.key) ?? { ranges: [], conflicts: [] }
    const wanted = annotationsOf(member, share)
    const { key } = member.node
    if (Object.entries(wanted).every(([one, value]) => shown[one] === value)) {
      this.#keys.set(name, key)
      return []
    }
    const forged = forgedKeys(node, key, this.#keys.get(name))
    const put = async (): Promise<void> => {
      await this.#annotate(node, wanted)
      this.#keys.set(name, key)
    }
    if (forged.length === 0) return [put]
    this.#forgedAt.set(name, new Date().toISOString())
    this.#options.log.warn({ node: name, annotations: forged }, 'a key that the node did not sign')
    const message = `${forged.join(', ')} had a key that the node did not sign; put right`
    return [put, () => this.#tell(node, 'MeshKeyForged', message)]
  }

  /** A node with the annotations of seed 003 and no agent of ours: told of once. */
  #ignoredWrites(node: ClusterNode): Write[] {
    const { name, annotations: shown = {} } = node.metadata
    const key = shown[annotations.seedKey]
    if (key === undefined || this.#ignored.get(name) === key) return []
    this.#ignored.set(name, key)
    const message = `${annotations.seedKey} alone makes no peer: the node did not sign it`
    return [() => this.#tell(node, 'MeshKeyIgnored', message)]
  }

  #annotate({ metadata: { name, uid } }: ClusterNode, values: object): Promise<unknown> {
    // With its uid: a Node that was made anew in between is not meant.
    const metadata = { name, ...(uid === undefined ? {} : { uid }), annotations: values }
    const body = { apiVersion: 'v1', kind: 'Node', metadata }
    return this.#options.api.apply(`/api/v1/nodes/${name}`, manager, body)
  }

  #tell({ metadata: { name, uid } }: ClusterNode, reason: string, message: string) {
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    const body = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { generateName: `${name}.`, namespace: 'default' },
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Node',
        name,
        ...(uid === undefined ? {} : { uid }),
      },
      type: 'Warning',
      reason,
      message,
      source: { component: manager },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    }
    // Events of what belongs to no namespace are in this one.
    return this.#options.api.call('POST', '/api/v1/namespaces/default/events', body)
  }

  #peerWrites({ nodes, peers, gateways }: Cluster, now: Now): Write[] {
    const { members } = now
    const byName = new Map(peers.map((peer) => [peer.metadata.name, peer]))
    const ofNode = new Map(nodes.map((node) => [node.metadata.name, node]))
    const made = [...members].flatMap(([name, member]): Write[] => {
      if (member.origin !== 'agent') return []
      const peer = byName.get(name)
      // Somebody else's object has the name: it is told so in its status.
      if (peer !== undefined && !isManaged(peer)) return []
      const spec = peerSpecOf(member, ofNode.get(name))
      return isShown(peer, spec) ? [] : [() => this.#apply('Peer', name, { spec })]
    })
    const gone = peers
      .filter((peer) => isManaged(peer) && members.get(peer.metadata.name)?.origin !== 'agent')
      .map(({ metadata }): Write => {
        return () => this.#options.api.call('DELETE', this.#path('Peer', metadata.name))
      })
    const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    const told = [
      ...peers.map((one) => ['Peer', one] as const),
      ...gateways.map((one) => ['Gateway', one] as const),
    ].flatMap(([kind, one]): Write[] => {
      const { name } = one.metadata
      const origin = kind === 'Gateway' ? 'gateway' : isManaged(one) ? 'agent' : 'peer'
      const found = members.get(name)
      const member = found?.origin === origin ? found : null
      if (member === null && isManaged(one)) return []
      const refusal = now.refusals.get(`${origin}/${name}`) ?? null
      const share = member === null ? null : (now.shares.get(member.node.key) ?? null)
      const forgedAt = this.#forgedAt.get(name) ?? null
      const status = statusOf(one.status, { member, share, refusal, forgedAt }, time)
      return isTold(one.status, status) ? [] : [() => this.#apply(kind, name, { status })]
    })
    return [...made, ...gone, ...told]
  }

  #apply(kind: 'Peer' | 'Gateway', name: string, part: { spec: object } | { status: object }) {
    const { api, namespace } = this.#options
    const isSpec = 'spec' in part
    const labels = isSpec ? { labels: { [managedLabel]: manager } } : {}
    const metadata = { name, namespace, ...labels }
    const path = this.#path(kind, name) + (isSpec ? '' : '/status')
    return api.apply(path, manager, { apiVersion: groupVersion, kind, metadata, ...part })
  }

  #path(kind: 'Peer' | 'Gateway', name: string): string {
    const { namespace } = this.#options
    return `/apis/${group}/v1alpha1/namespaces/${namespace}/${kind.toLowerCase()}s/${name}`
  }
}

/** The networks that the mesh of this cluster had before; null when it is a new one. */
export async function keptNetworks(
  api: Api,
  { namespace, configMap }: Pick<AdapterOptions, 'namespace' | 'configMap'>,
): Promise<MeshNetworks | null> {
  const path = `/api/v1/namespaces/${namespace}/configmaps/${configMap}`
  const { data } = read.configMap(await api.call('GET', path))
  const text = data?.['networks']
  return text === undefined ? null : meshNetworks.parse(JSON.parse(text))
}
