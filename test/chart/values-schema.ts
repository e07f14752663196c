/**
 * `helm/values.schema.json`: the program's own schema below `config`, and for the chart's keys what
 * `values.yaml` shows: its types, with the words, ranges and open maps that defaults cannot show.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { schema } from '../../proxy/config/schema.ts'
import { tuningKeys } from '../../proxy/config/tuning-schema.ts'
import { root } from '../harness/edge.ts'

type Json = Readonly<Record<string, unknown>>

export const port = { type: 'integer', minimum: 1, maximum: 65_535 }
const intOrPercent = { type: ['integer', 'string'], pattern: '^[0-9]+%$', minimum: 0 }
const percent = { type: ['integer', 'null'], minimum: 1, maximum: 1_000 }
export const maybe = (type: string): Json => ({ type: [type, 'null'] })
export const words = (...values: readonly string[]): Json => ({ enum: values })
export const text = (pattern: string): Json => ({ type: 'string', pattern })
export const cidr = text('^[0-9a-fA-F:.]+/[0-9]{1,3}$')
export const strings: Json = { type: 'array', items: { type: 'string' } }
export const objects: Json = { type: 'array', items: { type: 'object' } }
export const texts: Json = { type: 'object', additionalProperties: { type: 'string' } }
export const open: Json = { type: 'object' }
export const secret = text('^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$')
const prometheusTime = text('^([0-9]+(ms|s|m|h|d))*$')
export const strategy: Json = {
  type: 'object',
  additionalProperties: false,
  properties: {
    type: { type: 'string' },
    rollingUpdate: {
      type: ['object', 'null'],
      additionalProperties: false,
      properties: { maxUnavailable: intOrPercent, maxSurge: intOrPercent },
    },
  },
}

/** What monitors of pods and of Services have in common. */
function monitor(kind: string, targetLabels: string): Readonly<Record<string, Json>> {
  const at = `metrics.${kind}`
  return {
    [`${at}.labels`]: texts,
    [`${at}.annotations`]: texts,
    [`${at}.interval`]: prometheusTime,
    [`${at}.scrapeTimeout`]: prometheusTime,
    [`${at}.${targetLabels}`]: strings,
    [`${at}.sampleLimit`]: { type: 'integer', minimum: 0 },
  }
}

/** What a default cannot show, by path. */
export type Known = Readonly<Record<string, Json>>

const known: Known = {
  commonLabels: texts,
  labels: texts,
  annotations: texts,
  'global.imagePullPolicy': words('Always', 'IfNotPresent', 'Never'),
  'global.tag': { type: ['string', 'number'] },
  imagePullSecrets: objects,
  'proxy.kind': words('deployment', 'daemonset'),
  'proxy.replicaCount': { type: 'integer', minimum: 0 },
  'proxy.exposure': words('', 'nodeAddress', 'hostPort', 'hostNetwork', 'service'),
  'proxy.image.tag': { type: ['string', 'number'] },
  'proxy.image.digest': text('^(sha256:[0-9a-f]{64})?$'),
  'proxy.image.pullPolicy': words('', 'Always', 'IfNotPresent', 'Never'),
  'proxy.ports.hostIP': text('^[0-9a-fA-F.:]*$'),
  'proxy.annotations': texts,
  'proxy.lifecycle': open,
  'proxy.backend.host': { type: 'string', minLength: 1, pattern: '^[A-Za-z0-9_.:\\[\\]-]+$' },
  'proxy.backend.port': port,
  'proxy.ports.http': port,
  'proxy.ports.https': port,
  'proxy.waf.mode': words('block', 'detect', 'off'),
  'proxy.waf.timeout': { type: 'integer', minimum: 1, maximum: 60_000 },
  'proxy.waf.paranoia': { type: ['integer', 'null'], minimum: 1, maximum: 4 },
  'proxy.waf.exclusions': inputSchema(tuningKeys.exclusions),
  'proxy.tls.certFile': text('^/[^/]+/.*[^/]$'),
  'proxy.tls.keyFile': text('^/[^/]+/.*[^/]$'),
  'proxy.tls.secretName': secret,
  'proxy.tls.extraSecretNames': { type: 'array', items: secret, maxItems: 100 },
  'proxy.resources': open,
  'proxy.updateStrategy': strategy,
  'proxy.podAnnotations': texts,
  'proxy.podLabels': texts,
  'proxy.extraArgs': strings,
  'proxy.minReadySeconds': { type: 'integer', minimum: 0 },
  'proxy.revisionHistoryLimit': { type: 'integer', minimum: 0 },
  'waf.mode': words('embedded', 'service'),
  'waf.replicaCount': { type: 'integer', minimum: 0 },
  'waf.minReadySeconds': { type: 'integer', minimum: 0 },
  'waf.service.questionsPort': port,
  'waf.service.secretName': text('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$'),
  'waf.image.tag': { type: ['string', 'number'] },
  'waf.resources': open,
  'waf.service.port': port,
  'daemonset.updateStrategy': {
    ...strategy,
    properties: { ...(strategy['properties'] as Json), type: words('RollingUpdate', 'OnDelete') },
  },
  'daemonset.dnsPolicy': words('ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'),
  'quic.serverId': text('^(aws|annotation:[A-Za-z0-9./_-]+|env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)?$'),
  'quic.neighbours.port': port,
  'controller.replicaCount': { type: 'integer', minimum: 0 },
  'controller.addressTypes': {
    type: 'array',
    items: words('InternalIP', 'ExternalIP'),
    minItems: 1,
    uniqueItems: true,
  },
  'controller.resources': open,
  'controller.podAnnotations': texts,
  'controller.serviceAccount.annotations': texts,
  'controller.nodeSelector': texts,
  'controller.affinity': open,
  'mesh.networks': { type: 'array', items: cidr, maxItems: 2 },
  'mesh.allow': { type: 'array', items: cidr, maxItems: 256 },
  'mesh.locationLabel': text(
    '^(([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$',
  ),
  'mesh.coordinator.url': text('^(https://[^/]+)?$'),
  'mesh.coordinator.port': port,
  'mesh.coordinator.resources': open,
  'mesh.coordinator.podAnnotations': texts,
  'mesh.coordinator.serviceAccount.annotations': texts,
  'mesh.coordinator.nodeSelector': texts,
  'mesh.coordinator.affinity': open,
  'mesh.agent.mode': words('auto', 'kernel', 'tun', 'netstack'),
  'mesh.agent.interface': text('^[a-zA-Z0-9_-]{1,15}$'),
  'mesh.agent.port': port,
  'mesh.agent.mtu': { type: ['integer', 'null'], minimum: 1_280, maximum: 65_535 },
  'mesh.agent.stateDir': text('^/.+$'),
  'mesh.agent.advertise': { type: 'array', items: cidr, maxItems: 256 },
  'mesh.agent.relay.mode': words('auto', 'off'),
  'mesh.agent.relay.h3Port': { type: ['integer', 'null'], minimum: 1, maximum: 65_535 },
  'mesh.agent.relay.tcpPort': { type: ['integer', 'null'], minimum: 1, maximum: 65_535 },
  'mesh.agent.extraArgs': strings,
  'mesh.agent.updateStrategy': strategy,
  'mesh.agent.resources': open,
  'mesh.agent.podAnnotations': texts,
  'mesh.agent.serviceAccount.annotations': texts,
  'mesh.agent.nodeSelector': texts,
  'mesh.agent.affinity': open,
  'drain.delaySeconds': { type: 'integer', minimum: 0, maximum: 3_600 },
  'drain.timeoutSeconds': { type: 'integer', minimum: 0, maximum: 86_400 },
  terminationGracePeriodSeconds: { type: 'integer', minimum: 1 },
  'service.type': words('LoadBalancer', 'NodePort', 'ClusterIP'),
  'service.annotations': texts,
  'service.labels': texts,
  'service.externalTrafficPolicy': words('', 'Cluster', 'Local'),
  'service.internalTrafficPolicy': words('', 'Cluster', 'Local'),
  'service.loadBalancerSourceRanges': strings,
  'service.healthCheckNodePort': maybe('integer'),
  'service.ipFamilyPolicy': words('', 'SingleStack', 'PreferDualStack', 'RequireDualStack'),
  'service.sessionAffinity': words('', 'None', 'ClientIP'),
  'service.nodePorts.http': maybe('integer'),
  'service.nodePorts.https': maybe('integer'),
  'service.nodePorts.http3': maybe('integer'),
  configFiles: texts,
  'metrics.port': port,
  'metrics.service.annotations': texts,
  'metrics.service.labels': texts,
  ...monitor('podMonitor', 'podTargetLabels'),
  ...monitor('serviceMonitor', 'targetLabels'),
  'metrics.prometheusRule.labels': texts,
  'metrics.prometheusRule.annotations': texts,
  'metrics.prometheusRule.interval': prometheusTime,
  'metrics.prometheusRule.disabled': strings,
  'metrics.prometheusRule.additionalRuleLabels': texts,
  'metrics.prometheusRule.additionalRuleAnnotations': texts,
  'metrics.dashboard.labels': texts,
  'metrics.dashboard.annotations': texts,
  startupProbe: open,
  readinessProbe: open,
  livenessProbe: open,
  'serviceAccount.annotations': texts,
  podSecurityContext: open,
  securityContext: open,
  'autoscaling.minReplicas': { type: 'integer', minimum: 1 },
  'autoscaling.maxReplicas': { type: 'integer', minimum: 1 },
  'autoscaling.targetCPUUtilizationPercentage': percent,
  'autoscaling.targetMemoryUtilizationPercentage': percent,
  'autoscaling.behavior': open,
  'podDisruptionBudget.proxy.minAvailable': intOrPercent,
  'podDisruptionBudget.waf.minAvailable': intOrPercent,
  'podDisruptionBudget.unhealthyPodEvictionPolicy': words('', 'IfHealthyBudget', 'AlwaysAllow'),
  nodeSelector: texts,
  affinity: open,
  hostUsers: maybe('boolean'),
  dnsConfig: open,
}

/** What the program takes, as it may be written. */
function inputSchema(of: z.ZodType): Json {
  const { $schema: _, ...written } = z.toJSONSchema(of, { io: 'input', unrepresentable: 'any' })
  return written
}

function schemaOf(value: unknown, path: string, known: Known): Json {
  const given = known[path]
  if (given !== undefined) return given
  if (Array.isArray(value)) return objects
  if (typeof value === 'object' && value !== null) {
    const prefix = path === '' ? '' : `${path}.`
    const properties = Object.entries(value).map(([key, below]) => [
      key,
      schemaOf(below, prefix + key, known),
    ])
    return {
      type: 'object',
      additionalProperties: false,
      properties: Object.fromEntries(properties),
    }
  }
  if (value === null) throw new Error(`values.yaml: ${path} is null: say in known what it is`)
  return { type: typeof value }
}

/** The schema file's text. */
export function valuesSchema(): string {
  const values: Json = parse(readFileSync(join(root, 'helm/values.yaml'), 'utf8'))
  const { properties, ...rest } = schemaOf({ ...values, config: {} }, '', known)
  const config = inputSchema(schema)
  const written = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    ...rest,
    properties: { ...(properties as Json), config },
  }
  return `${JSON.stringify(written, null, 2)}\n`
}

/** The schema of another chart, by its values and what they cannot show. */
export function schemaText(file: string, known: Known): string {
  const values: Json = parse(readFileSync(join(root, file), 'utf8'))
  const $schema = 'http://json-schema.org/draft-07/schema#'
  return `${JSON.stringify({ $schema, ...schemaOf(values, '', known) }, null, 2)}\n`
}

/** Paths that are known and not in the chart's values. */
export function strayPaths(file = 'helm/values.yaml', paths = known): string[] {
  const values: Json = parse(readFileSync(join(root, file), 'utf8'))
  return Object.keys(paths).filter((path) => {
    let value: unknown = values
    for (const key of path.split('.')) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return true
      value = (value as Json)[key]
    }
    return false
  })
}
