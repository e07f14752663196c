/** What kube-score says against the renders and is meant so: check, workload, and why. */

/** One kind of finding that is accepted. */
export interface Accepted {
  readonly check: string
  /** In which renders: a part of the file, or what the pod has. */
  readonly where:
    | 'everywhere'
    | 'on the network of the node'
    | 'low ports of the node'
    | 'with pods beside the proxies'
    | 'without a NetworkPolicy'
    | 'with a WAF service'
    | 'with a mesh'
    | 'where privilege is asked for'
  readonly why: string
}

/** The whole list: another finding fails the test, and so does an entry that nothing needs. */
export const accepted: readonly Accepted[] = [
  {
    check: 'container-image-pull-policy',
    where: 'everywhere',
    why: 'tags are versions, and the seed promises IfNotPresent (global.imagePullPolicy)',
  },
  {
    check: 'container-ephemeral-storage-request-and-limit',
    where: 'everywhere',
    why: 'each emptyDir has a sizeLimit; a limit of the container would evict a pod for its log',
  },
  {
    check: 'pod-networkpolicy',
    where: 'on the network of the node',
    why: 'no NetworkPolicy holds there, and one would only seem to',
  },
  {
    check: 'container-security-context-user-group-id',
    where: 'low ports of the node',
    why: 'ports below 1024 of the node take root, with the one capability for them',
  },
  {
    check: 'deployment-has-poddisruptionbudget',
    where: 'with pods beside the proxies',
    why: 'one controller is enough; the WAF has one unless podDisruptionBudget.enabled is false',
  },
  {
    check: 'deployment-has-host-podantiaffinity',
    where: 'with pods beside the proxies',
    why: 'topologySpreadConstraints keep them apart where they can',
  },
  {
    check: 'pod-networkpolicy',
    where: 'without a NetworkPolicy',
    why: 'networkPolicy.enabled is false in that example',
  },
  {
    check: 'pod-probes-identical',
    where: 'with a WAF service',
    why: 'GET /health is its one question, and liveness waits longer before it acts on it',
  },
  {
    check: 'container-security-context-user-group-id',
    where: 'with a mesh',
    why: 'the agent is root with one capability: Kubernetes gives other users none',
  },
  {
    check: 'pod-probes-identical',
    where: 'with a mesh',
    why: 'GET /healthz is the one question of the coordinator, and liveness waits longer',
  },
  {
    check: 'deployment-strategy',
    where: 'with a mesh',
    why: 'one coordinator gives addresses away; the mesh goes on while it starts anew',
  },
  {
    check: 'deployment-replicas',
    where: 'with a mesh',
    why: 'one coordinator gives addresses away; the mesh goes on while it starts anew',
  },
  {
    check: 'container-security-context-privileged',
    where: 'where privilege is asked for',
    why: 'that example asks for it, as the documents of seed 000 do',
  },
]
