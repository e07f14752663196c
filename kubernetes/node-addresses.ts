/**
 * Which addresses a Service should show: those of the nodes with a pod that serves. Plain data in,
 * plain data out.
 */
import { isIP } from 'node:net'
import type { EndpointSlice, Ingress, Node, Service } from './objects.ts'

/** The kinds of addresses that a node may have and a Service show. */
export const addressTypes = ['InternalIP', 'ExternalIP'] as const

export type AddressType = (typeof addressTypes)[number]

/** The `loadBalancerClass` of Services that are ours. */
export const loadBalancerClassDefault = 'quic-proxy-waf/node-address'

/** Kubernetes' own label for nodes that no balancer should send to. */
const excludedLabel = 'node.kubernetes.io/exclude-from-external-load-balancers'

/** Everything that was seen, when a Service is judged. */
export interface Observed {
  readonly service: Service
  /** The slices of this Service. */
  readonly slices: readonly EndpointSlice[]
  readonly nodes: readonly Node[]
}

/** Whether a Service is one of ours: the class cannot be changed once it is set. */
export function isOurs({ spec }: Service, loadBalancerClass: string): boolean {
  return spec.type === 'LoadBalancer' && spec.loadBalancerClass === loadBalancerClass
}

/**
 * The addresses that the Service should show, in a stable order. When no node with a pod is ready,
 * the ones that it shows stay: that the control plane has lost sight of all nodes is likelier than
 * that all are gone, and an address that leads nowhere costs no more than none.
 */
export function desiredIngress(
  { service, slices, nodes }: Observed,
  types: readonly AddressType[],
): readonly Ingress[] {
  const endpoints = slices.flatMap((slice) => slice.endpoints ?? [])
  const hosts = nodesOf(endpoints, nodes)
  if (hosts.length > 0 && !hosts.some(isReady)) return ingressOf(service)
  const families = familiesOf(service)
  const addresses = nodesOf(endpoints.filter(isServing), nodes)
    .filter((node) => isReady(node) && node.metadata.labels?.[excludedLabel] === undefined)
    .flatMap(({ status }) => status.addresses ?? [])
    .filter(({ type, address }) => types.some((one) => one === type) && families(address))
    .map(({ address }) => address)
  return [...new Set(addresses)].toSorted().map((ip) => ({ ip, ipMode: 'VIP' }))
}

/** What the Service shows now. */
export function ingressOf({ status }: Service): readonly Ingress[] {
  return status?.loadBalancer?.ingress ?? []
}

/** Whether two lists say the same. A server that does not know `ipMode` means VIP. */
export function isSame(one: readonly Ingress[], other: readonly Ingress[]): boolean {
  const text = (list: readonly Ingress[]): string =>
    list.map(({ ip, ipMode = 'VIP' }) => `${ip} ${ipMode}`).join()
  return text(one) === text(other)
}

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number]

function nodesOf(endpoints: readonly Endpoint[], nodes: readonly Node[]): readonly Node[] {
  const names = new Set(endpoints.map(({ nodeName }) => nodeName))
  return nodes.filter(({ metadata: { name } }) => names.has(name))
}

/**
 * Whether kube-proxy would send to it: a pod that is ready, or one that ends and still serves,
 * which takes what comes while no other pod of its node is ready (KEP-1669).
 */
function isServing({ conditions = {} }: Endpoint): boolean {
  const isTerminating = conditions.terminating === true
  const isReadyPod = conditions.ready ?? !isTerminating
  return isReadyPod || (isTerminating && conditions.serving === true)
}

function isReady({ status }: Node): boolean {
  const ready = status.conditions?.find(({ type }) => type === 'Ready')
  return ready?.status === 'True'
}

/** Which addresses the Service can have: kube-proxy has no rules for another family. */
function familiesOf({ spec }: Service): (address: string) => boolean {
  const families = spec.ipFamilies ?? []
  const versions = families.length === 0 ? ['IPv4', 'IPv6'] : families
  return (address) => versions.includes(`IPv${isIP(address)}`)
}
