/** The chart's examples: those of seed 001, word by word, and what else is promised. */

import type { Release } from './tools.ts'

/** Values as they are written, and flags beside them. */
export interface Example {
  readonly name: string
  readonly flags: readonly string[]
  readonly values: string
  /** Of another chart than the proxy's. */
  readonly release?: Release
}

const daemonset = ['--values', 'helm/values-daemonset.yaml']
const example = (name: string, values: string, flags: readonly string[] = []): Example => ({
  name,
  flags,
  values,
})

export const examples: readonly Example[] = [
  example('deployment', ''),
  example('daemonset', '', [...daemonset, '--set', 'proxy.backend.host=my-backend-service']),
  example(
    'basic-daemonset',
    `
proxy:
  kind: daemonset
  ports:
    useHostPorts: true

daemonset:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
`,
  ),
  example(
    'host-ports',
    `
proxy:
  kind: daemonset
  ports:
    http: 80
    https: 443
    useHostPorts: true
`,
  ),
  example(
    'without-host-ports',
    `
proxy:
  kind: daemonset
  ports:
    useHostPorts: false
`,
  ),
  example(
    'node-address',
    `
proxy:
  kind: daemonset
  exposure: nodeAddress
  backend:
    host: my-backend-service
`,
  ),
  example(
    'node-address-own',
    `
proxy:
  kind: daemonset
service:
  healthCheckNodePort: 32080
  loadBalancerSourceRanges: [192.0.2.0/24]
  ipFamilyPolicy: PreferDualStack
controller:
  replicaCount: 1
  addressTypes: [InternalIP, ExternalIP]
  nodeSelector:
    node-role.kubernetes.io/control-plane: ""
  tolerations:
    - { key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule }
networkPolicy:
  enabled: false
`,
  ),
  example(
    'node-selection',
    `
nodeSelector:
  node-role.kubernetes.io/edge: "true"
tolerations:
- key: "edge"
  operator: "Equal"
  value: "true"
  effect: "NoSchedule"
`,
    daemonset,
  ),
  example(
    'anti-affinity',
    `
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        labelSelector:
          matchExpressions:
          - key: app.kubernetes.io/name
            operator: In
            values:
            - quic-proxy-waf
        topologyKey: kubernetes.io/hostname
`,
  ),
  example(
    'privileges',
    `
securityContext:
  runAsNonRoot: false
  runAsUser: 0
  capabilities:
    add:
    - NET_BIND_SERVICE
    drop:
    - ALL
`,
    daemonset,
  ),
  example(
    'complete',
    `
global:
  registry: ghcr.io/pmh-only/quic-proxy
  tag: "v1.1.0"

proxy:
  kind: daemonset
  backend:
    host: "api-backend.internal"
    port: 8080
  ports:
    useHostPorts: true

waf:
  enabled: true
  replicaCount: 3

daemonset:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  updateStrategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1

nodeSelector:
  node-role.kubernetes.io/edge: "true"

tolerations:
- key: "edge-taint"
  operator: "Exists"
  effect: "NoSchedule"
`,
  ),
  example(
    'alternate-ports',
    `
proxy:
  ports:
    http: 8080
    https: 8443
    useHostPorts: true
`,
    daemonset,
  ),
  example(
    'no-surge',
    `
daemonset:
  updateStrategy:
    rollingUpdate:
      maxSurge: 0
      maxUnavailable: 1
`,
    daemonset,
  ),
  example(
    'waf-service',
    `
waf:
  mode: service
  replicaCount: 3
  service:
    secretName: edge-waf
proxy:
  waf:
    paranoia: 2
networkPolicy:
  egressTo:
    - podSelector: { matchLabels: { app: shop } }
`,
  ),
  example('daemonset-waf-service', '', [...daemonset, '--set', 'waf.mode=service']),
  example(
    'own-configuration',
    `
proxy:
  waf:
    mode: detect
    paranoia: 2
    timeout: 4000
    exclusions:
      - { rules: [942100], targets: ["ARGS:q"], paths: [/search] }
  tls:
    certFile: /tls/server.crt
    keyFile: /tls/server.key
    extraSecretNames: [shop-certificate]
service:
  type: ClusterIP
config:
  upstreams:
    - name: shop
      endpoints: [{ url: "http://shop:8080" }, { url: "http://shop-2:8080", weight: 2 }]
  waf:
    setupFiles: [own.conf]
configFiles:
  own.conf: |
    SecAction "id:10001,phase:1,pass,nolog,setvar:tx.example=1"
`,
  ),
  example(
    'monitoring',
    `
metrics:
  podMonitor:
    enabled: true
    labels: { release: kube-prometheus-stack }
    interval: 15s
    relabelings: [{ sourceLabels: [__meta_kubernetes_pod_node_name], targetLabel: node }]
  prometheusRule:
    enabled: true
    labels: { release: kube-prometheus-stack }
    disabled: [EdgeWafDenialsHigh]
    additionalRuleLabels: { team: edge }
    additionalRules:
      - alert: ShopQuiet
        expr: sum(rate(edge_http_requests_total{route="shop"}[5m])) < 1
        for: 10m
  dashboard:
    enabled: true
    folder: Edge
`,
  ),
  example(
    'monitoring-service',
    `
metrics:
  service:
    labels: { team: edge }
  serviceMonitor:
    enabled: true
    namespace: monitoring
    labels: { release: kube-prometheus-stack }
    targetLabels: [team]
    metricRelabelings: [{ sourceLabels: [__name__], regex: edge_waf_rbl_.*, action: drop }]
`,
  ),
  example(
    'monitoring-on-nodes',
    `
metrics:
  hostAddress: 0.0.0.0
  podMonitor: { enabled: true }
`,
    daemonset,
  ),
  example(
    'aws-nlb',
    `
quic:
  serverId: aws
service:
  loadBalancerClass: service.k8s.aws/nlb
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
    service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing
    service.beta.kubernetes.io/aws-load-balancer-enable-tcp-udp-listener: "true"
    service.beta.kubernetes.io/aws-load-balancer-quic-enabled-ports: "443"
    service.beta.kubernetes.io/aws-load-balancer-disable-nlb-sg: "true"
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol: http
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-port: "8080"
    service.beta.kubernetes.io/aws-load-balancer-healthcheck-path: /_gwhealthz
`,
  ),
  example(
    'server-id-of-the-pod',
    `
quic:
  serverId: annotation:example.org/quic-server-id
`,
  ),
  example(
    'autoscaling',
    `
namespaceOverride: edge
hostUsers: false
proxy:
  image:
    registry: registry.example.org
    pullPolicy: Always
  annotations: { example.org/owner: edge }
  lifecycle:
    preStop: { sleep: { seconds: 5 } }
autoscaling:
  enabled: true
  minReplicas: 2
  targetMemoryUtilizationPercentage: 80
`,
  ),
  example(
    'one-address',
    `
proxy:
  kind: daemonset
  ports:
    useHostPorts: true
    hostIP: 192.0.2.1
`,
  ),
  example(
    'mesh',
    `
mesh:
  enabled: true
proxy:
  mesh: true
config:
  upstreams:
    - name: far
      endpoints: [{ url: "mesh://node-2:8080" }]
`,
  ),
  example(
    'mesh-own',
    `
mesh:
  enabled: true
  crds: false
  networks: [100.80.0.0/16, "fd12:3456:789a::/64"]
  allow: [192.168.7.0/24]
  annotatedNodes: true
  locationLabel: topology.kubernetes.io/zone
  coordinator:
    url: https://mesh.example.org:8453
    hostNetwork: false
    persistence: { enabled: true, storageClassName: fast }
    tolerations: [{ key: node-role.kubernetes.io/control-plane, operator: Exists }]
  agent:
    mode: tun
    mtu: 1380
    port: 51821
    advertise: [192.168.7.0/24]
    relay: { h3Port: 443, tcpPort: 443 }
    nodeSelector: { edgelink.io/enabled: "true" }
`,
  ),
]
