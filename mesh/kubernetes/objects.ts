/** What is read of Kubernetes' objects for the mesh; all else falls away where it comes in. */
import { z } from 'zod'

const texts = z.record(z.string(), z.string())
const metadata = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string(),
  generation: z.number().optional(),
  labels: texts.optional(),
  annotations: texts.optional(),
})

const node = z.object({
  metadata,
  spec: z
    .object({ podCIDR: z.string().optional(), podCIDRs: z.array(z.string()).optional() })
    .optional(),
  status: z
    .object({
      addresses: z.array(z.object({ type: z.string(), address: z.string() })).optional(),
    })
    .optional(),
})
/** A node, its ranges for pods and its addresses. */
export type ClusterNode = z.infer<typeof node>

/** What a node signed, kept so that a coordinator without its folder knows the mesh again. */
const signed = z.object({
  identity: z.string(),
  record: z.string(),
  signature: z.string(),
  since: z.number(),
})

const peerSpec = z.object({
  nodeName: z.string().optional(),
  publicKey: z.string(),
  listenPort: z.number().optional(),
  endpoint: z.string().optional(),
  meshIP: z.string().optional(),
  podIPs: z.array(z.string()).optional(),
  allowedIPs: z.array(z.string()).optional(),
  /** Of a Gateway: what is behind it. */
  podCIDRs: z.array(z.string()).optional(),
  signed: signed.optional(),
})
/** Of a Peer or a Gateway. */
export type PeerSpec = z.infer<typeof peerSpec>

const condition = z.object({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string(),
  message: z.string(),
  lastTransitionTime: z.string(),
})
export type Condition = z.infer<typeof condition>

const peerStatus = z.object({
  meshIPs: z.array(z.string()).optional(),
  allowedIPs: z.array(z.string()).optional(),
  conditions: z.array(condition).optional(),
})
export type PeerStatus = z.infer<typeof peerStatus>

const peer = z.object({ metadata, spec: peerSpec, status: peerStatus.optional() })
/** A Peer or a Gateway. */
export type PeerObject = z.infer<typeof peer>

const tokenReview = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    audiences: z.array(z.string()).optional(),
    error: z.string().optional(),
    user: z
      .object({
        username: z.string().optional(),
        extra: z.record(z.string(), z.array(z.string())).optional(),
      })
      .optional(),
  }),
})
/** What the API server says of a token. */
export type TokenReview = z.infer<typeof tokenReview>

const pod = z.object({
  metadata,
  spec: z.object({ nodeName: z.string().optional() }),
})

const configMap = z.object({ data: texts.optional() })

/** Reads one object; throws when it is none of its kind. */
export const read = {
  node: (json: unknown): ClusterNode => node.parse(json),
  peer: (json: unknown): PeerObject => peer.parse(json),
  tokenReview: (json: unknown): TokenReview => tokenReview.parse(json),
  pod: (json: unknown): z.infer<typeof pod> => pod.parse(json),
  configMap: (json: unknown): z.infer<typeof configMap> => configMap.parse(json),
}

/** The ranges of a node's pods, of both families. */
export function podRanges({ spec }: ClusterNode): readonly string[] {
  const { podCIDR, podCIDRs = [] } = spec ?? {}
  return podCIDRs.length > 0 || podCIDR === undefined ? podCIDRs : [podCIDR]
}

/** The addresses by which nodes of the cluster reach it. */
export function internalAddresses({ status }: ClusterNode): readonly string[] {
  return (status?.addresses ?? []).flatMap(({ type, address }) =>
    type === 'InternalIP' ? [address] : [],
  )
}
