/** What the mesh is called in Kubernetes. */

export const group = 'mesh.quic-proxy-waf'
export const groupVersion = `${group}/v1alpha1`
/** Who writes, in `managedFields` and in the label of what is ours alone. */
export const manager = 'edge-mesh-coordinator'
export const managedLabel = 'app.kubernetes.io/managed-by'
/** What a token of a ServiceAccount must be for. */
export const audienceDefault = 'edge-mesh'

/** Annotations of a Node: those of seed 003 without a domain, and ours. */
export const annotations = {
  seedAddress: 'wireguard-ip',
  seedKey: 'wireguard-publickey',
  id: `${group}/id`,
  key: `${group}/public-key`,
  addresses: `${group}/addresses`,
  ranges: `${group}/ranges`,
} as const

/** Where seed 003's and seed 004's programs listen when they do not say it. */
export const portDefault = 51_820
