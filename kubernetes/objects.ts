/** What is read of Kubernetes' objects; everything else in them falls away where they come in. */
import { z } from 'zod'

const metadata = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  resourceVersion: z.string(),
  labels: z.record(z.string(), z.string()).optional(),
})

const conditions = z.array(z.object({ type: z.string(), status: z.string() }))

const node = z.object({
  metadata,
  status: z.object({
    conditions: conditions.optional(),
    addresses: z.array(z.object({ type: z.string(), address: z.string() })).optional(),
  }),
})

/** A node: whether it is ready, and its addresses. */
export type Node = z.infer<typeof node>

// A server that does not know `ipMode` (before 1.29) leaves it out.
const ingress = z.object({ ip: z.string().optional(), ipMode: z.string().optional() })

const service = z.object({
  metadata,
  spec: z.object({
    type: z.string().optional(),
    loadBalancerClass: z.string().optional(),
    ipFamilies: z.array(z.string()).optional(),
  }),
  status: z
    .object({ loadBalancer: z.object({ ingress: z.array(ingress).optional() }).optional() })
    .optional(),
})

/** A Service, and what its status says of addresses. */
export type Service = z.infer<typeof service>

/** One address of a Service's status. */
export type Ingress = z.infer<typeof ingress>

const endpointSlice = z.object({
  metadata,
  endpoints: z
    .array(
      z.object({
        nodeName: z.string().optional(),
        // Null is written as well as left out: "unknown", which readers take for true.
        conditions: z
          .object({
            ready: z.boolean().nullish(),
            serving: z.boolean().nullish(),
            terminating: z.boolean().nullish(),
          })
          .optional(),
      }),
    )
    .nullish(),
})

/** A part of a Service's endpoints. */
export type EndpointSlice = z.infer<typeof endpointSlice>

const leaseSpec = z.object({
  holderIdentity: z.string().optional(),
  leaseDurationSeconds: z.number().optional(),
  acquireTime: z.string().optional(),
  renewTime: z.string().optional(),
  leaseTransitions: z.number().optional(),
})

/** Who leads, and until when. */
export type LeaseSpec = z.infer<typeof leaseSpec>

// It is written back whole: what others put on it stays.
const leaseMetadata = metadata.extend({
  uid: z.string().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
})
const lease = z.object({ metadata: leaseMetadata, spec: leaseSpec.optional() })

/** A lease as it is stored. */
export type Lease = z.infer<typeof lease>

/** An object that is listed and watched. */
export type Stored = Node | Service | EndpointSlice

/** Reads one object; throws when it is none of its kind. */
export const read = {
  node: (json: unknown): Node => node.parse(json),
  service: (json: unknown): Service => service.parse(json),
  endpointSlice: (json: unknown): EndpointSlice => endpointSlice.parse(json),
  lease: (json: unknown): Lease => lease.parse(json),
}
