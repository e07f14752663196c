/** The chart of seed 000: its examples and what its values cannot show. */
import type { Example } from './examples.ts'
import {
  cidr,
  open,
  port,
  schemaText,
  strategy,
  strings,
  text,
  texts,
  words,
} from './values-schema.ts'

/** As the seed's command names them. */
export const sidecarRelease = ['edgelink-sidecar', './helm/edgelink-sidecar'] as const
/** The flags of the seed's command. */
export const seedFlags: readonly string[] = [
  '--namespace',
  'edgelink-system',
  '--set',
  'edgelink.serverUrl=https://api.edgelink.example.com',
  '--set',
  'edgelink.preSharedKey=your-psk-here',
]

const example = (name: string, values: string, flags: readonly string[] = []): Example => ({
  name,
  flags,
  values,
  release: sidecarRelease,
})

export const sidecarExamples: readonly Example[] = [
  example('sidecar', '', seedFlags),
  example('sidecar-own-secret', '', ['--namespace', 'edgelink-system']),
  example(
    'sidecar-production',
    `
edgelink:
  serverUrl: "https://api.edgelink.production.com"
  preSharedKey: "your-production-psk"
  logLevel: "warn"

resources:
  limits:
    cpu: 500m
    memory: 512Mi
  requests:
    cpu: 200m
    memory: 256Mi

nodeSelector:
  edgelink.io/enabled: "true"

# Use userspace WireGuard for better security
securityContext:
  privileged: false
  capabilities:
    add:
    - NET_ADMIN
`,
    ['--namespace', 'edgelink-system'],
  ),
  example(
    'sidecar-privileged',
    `
namespace: edgelink-system
nodeSelector: { edgelink.io/sidecar: enabled }
securityContext: { privileged: true }
podSecurityContext: { capabilities: { add: [NET_ADMIN, NET_RAW, SYS_MODULE] } }
sysctl: { enabled: true }
`,
  ),
  example(
    'sidecar-netstack',
    `
hostNetwork: false
edgelink:
  serverUrl: https://mesh.example.org:8453
  mode: netstack
  existingSecret: my-psk
  existingSecretKey: token
  port: 51821
`,
  ),
]

const values = 'helm/edgelink-sidecar/values.yaml'

/** What defaults cannot show, by path. */
export const sidecarKnown = {
  commonLabels: texts,
  namespace: text('^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$'),
  'image.tag': { type: ['string', 'number'] },
  'image.digest': text('^(sha256:[0-9a-f]{64})?$'),
  'image.pullPolicy': words('Always', 'IfNotPresent', 'Never'),
  'edgelink.serverUrl': text('^https://[^/]+/?$'),
  'edgelink.existingSecret': text('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$'),
  'edgelink.existingSecretKey': text('^[A-Za-z0-9._-]+$'),
  'edgelink.logLevel': words('debug', 'info', 'warn', 'error'),
  'edgelink.mode': words('auto', 'kernel', 'tun', 'netstack'),
  'edgelink.interface': text('^[a-zA-Z0-9_-]{1,15}$'),
  'edgelink.port': port,
  'edgelink.mtu': { type: ['integer', 'null'], minimum: 1_280, maximum: 65_535 },
  'edgelink.advertise': { type: 'array', items: cidr, maxItems: 256 },
  'edgelink.stateDir': text('^/.+$'),
  extraArgs: strings,
  'serviceAccount.annotations': texts,
  podSecurityContext: open,
  securityContext: open,
  updateStrategy: strategy,
  resources: open,
  dnsPolicy: words('ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'),
  nodeSelector: texts,
  affinity: open,
  podAnnotations: texts,
  'networkPolicy.dnsNamespaceLabels': texts,
}

/** The text of its values.schema.json. */
export function sidecarSchema(): string {
  return schemaText(values, sidecarKnown)
}
