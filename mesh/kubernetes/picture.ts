/** What Kubernetes should show of the mesh: annotations, objects, conditions. Pure. */
import { isDeepStrictEqual } from 'node:util'
import { claimsOf } from '../claims.ts'
import type { MeshNetworks } from '../entry.ts'
import type { MeshNode } from '../topology.ts'
import type { Member } from './members.ts'
import {
  type ClusterNode,
  type Condition,
  internalAddresses,
  type PeerObject,
  type PeerSpec,
  type PeerStatus,
} from './objects.ts'
import { annotations } from './terms.ts'

/** The ranges that a node has, and those that it does not get. */
export interface Share {
  readonly ranges: readonly string[]
  /** `10.1.0.0/16: node-a claimed it before` */
  readonly conflicts: readonly string[]
}

/** By public key: what each node has of what it claims. */
export function sharesOf(
  nodes: readonly MeshNode[],
  networks: MeshNetworks,
): ReadonlyMap<string, Share> {
  const { held, conflicts } = claimsOf(nodes, { networks, outside: [] })
  const reasons = Map.groupBy(conflicts, ({ node }) => node)
  return new Map(
    nodes.map((node) => {
      const ranges = held.get(node) ?? []
      const told = reasons.get(node.name) ?? []
      const lines = told.map(({ prefix, reason }) => `${prefix}: ${reason}`)
      return [node.key, { ranges, conflicts: lines }]
    }),
  )
}

/** What a Node of the cluster is annotated with. */
export function annotationsOf(
  { entry, node }: Member,
  { ranges }: Share,
): Readonly<Record<string, string>> {
  return {
    [annotations.seedAddress]: entry.addresses[0] ?? '',
    [annotations.seedKey]: node.key,
    [annotations.id]: entry.id,
    [annotations.key]: node.key,
    [annotations.addresses]: entry.addresses.join(','),
    [annotations.ranges]: ranges.join(','),
  }
}

/** Keys in a Node's annotations that are neither its own nor the one that we wrote before. */
export function forgedKeys(
  { metadata }: ClusterNode,
  key: string,
  before: string | undefined,
): readonly string[] {
  const shown = metadata.annotations ?? {}
  return [annotations.seedKey, annotations.key].filter((name) => {
    const value = shown[name]
    return value !== undefined && value !== key && value !== before
  })
}

/** The Peer of a node of the cluster. */
export function peerSpecOf({ entry, record, node }: Member, of: ClusterNode | undefined): PeerSpec {
  const { identity, since, signature } = entry
  return {
    nodeName: record.name,
    publicKey: node.key,
    listenPort: record.port,
    ...(node.endpoint === null ? {} : { endpoint: node.endpoint }),
    ...(entry.addresses[0] === undefined ? {} : { meshIP: entry.addresses[0] }),
    podIPs: of === undefined ? [] : [...internalAddresses(of)],
    allowedIPs: [...node.advertise],
    signed: { identity, record: entry.record, signature, since },
  }
}

/** What became of an object, in the words of its conditions. */
export interface Outcome {
  readonly member: Member | null
  readonly share: Share | null
  readonly refusal: { readonly reason: string; readonly message: string } | null
  /** When an annotation with a foreign key was put right last. */
  readonly forgedAt: string | null
}

/** The status of a Peer or Gateway, with the times of conditions that stay as they were. */
export function statusOf(
  before: PeerStatus | undefined,
  outcome: Outcome,
  now: string,
): PeerStatus {
  const { member, share } = outcome
  const conditions = conditionsOf(outcome).map((one): Condition => {
    const known = before?.conditions?.find(({ type }) => type === one.type)
    const isSame = known?.status === one.status
    return { ...one, lastTransitionTime: isSame ? known.lastTransitionTime : now }
  })
  return {
    meshIPs: [...(member?.entry.addresses ?? [])],
    allowedIPs: [...(share?.ranges ?? [])],
    conditions,
  }
}

type Told = Omit<Condition, 'lastTransitionTime'>

function conditionsOf({ member, share, refusal, forgedAt }: Outcome): Told[] {
  const conflicts = share?.conflicts ?? []
  const told: Told[] = [
    refusal !== null
      ? { type: 'Accepted', status: 'False', ...refusal }
      : member === null
        ? { type: 'Accepted', status: 'Unknown', reason: 'Pending', message: 'not in the mesh yet' }
        : { type: 'Accepted', status: 'True', reason: 'Joined', message: 'it is in the mesh' },
    conflicts.length > 0
      ? { type: 'Conflicted', status: 'True', reason: 'RangeTaken', message: linesOf(conflicts) }
      : {
          type: 'Conflicted',
          status: 'False',
          reason: 'NoConflict',
          message: 'all ranges are its',
        },
  ]
  if (member?.origin !== 'agent') return told
  const message =
    forgedAt === null
      ? 'the annotations are what the node signed'
      : `an annotation with another key was put right at ${forgedAt}`
  return [
    ...told,
    {
      type: 'KeyGenuine',
      status: 'True',
      reason: forgedAt === null ? 'Signed' : 'PutRight',
      message,
    },
  ]
}

/** API servers keep messages of conditions below 32 KiB. */
function linesOf(conflicts: readonly string[]): string {
  const most = 50
  const more = conflicts.length - most
  return [...conflicts.slice(0, most), ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
}

/** Whether an object says already what it should. */
export function isShown(peer: PeerObject | undefined, spec: PeerSpec): boolean {
  return peer !== undefined && isDeepStrictEqual(peer.spec, spec)
}

/** Whether a status says already what it should. */
export function isTold(before: PeerStatus | undefined, wanted: PeerStatus): boolean {
  return before !== undefined && isDeepStrictEqual(before, wanted)
}
