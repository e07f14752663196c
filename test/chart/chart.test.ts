/** The chart: what it renders, what it refuses and how it says so. */
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { beforeAll, describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { ConfigError } from '../../proxy/config/faults.ts'
import { parseConfig } from '../../proxy/config/parse.ts'
import { loadBalancerClassDefault } from '../../kubernetes/node-addresses.ts'
import { audienceDefault, group } from '../../mesh/kubernetes/terms.ts'
import { root } from '../harness/edge.ts'
import { examples } from './examples.ts'
import { chartFiles, generatedFiles, rendered } from './generated.ts'
import { kubernetesSchemas } from './kubernetes-schemas.ts'
import { helm, kubernetesVersion, render, tool } from './tools.ts'
import { strayPaths } from './values-schema.ts'

// The first run builds helm: minutes on a small machine, nothing later.
const buildTimeoutMs = 15 * 60_000

beforeAll(() => {
  tool('helm')
  tool('kubeconform')
  kubernetesSchemas()
}, buildTimeoutMs)

interface KubernetesObject {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly data: Readonly<Record<string, string>>
  readonly spec: PodOwner
  readonly rules?: readonly { readonly resources: string[]; readonly verbs: string[] }[]
}

interface PodOwner {
  readonly updateStrategy?: object
  readonly template: {
    readonly metadata: { readonly annotations: Readonly<Record<string, string>> }
    readonly spec: {
      readonly hostNetwork?: boolean
      readonly automountServiceAccountToken?: boolean
      readonly containers: readonly {
        readonly ports?: readonly { readonly hostPort?: number; readonly protocol: string }[]
        readonly securityContext: Readonly<Record<string, unknown>>
      }[]
    }
  }
}

function objectsOf(text: string): KubernetesObject[] {
  return parseAllDocuments(text).flatMap((document) => {
    const object: KubernetesObject | null = document.toJS()
    return object === null ? [] : [object]
  })
}

function objectsFor(flags: readonly string[], values = ''): KubernetesObject[] {
  return objectsOf(rendered({ name: '', flags, values }))
}

function proxyOf(objects: readonly KubernetesObject[]): PodOwner {
  const found = objects.find(({ kind }) => kind === 'DaemonSet' || kind === 'Deployment')
  if (found === undefined) throw new Error('there is no proxy')
  return found.spec
}

const daemonset = ['--values', 'helm/values-daemonset.yaml']

describe('generated files', () => {
  test('the schema is that of the program and of values.yaml', () => {
    expect(strayPaths()).toEqual([])
  })

  test('schema, dashboard, renders and plain manifests are current (npm run chart)', () => {
    for (const [file, text] of [...chartFiles(), ...generatedFiles()]) {
      expect(readFileSync(join(root, file), 'utf8'), file).toBe(text)
    }
  })

  test('values-daemonset.yaml at the top leads to the one of the chart', () => {
    expect(readlinkSync(join(root, 'values-daemonset.yaml'))).toBe('helm/values-daemonset.yaml')
  })
})

describe('every example', () => {
  test('is valid Kubernetes', () => {
    const folder = kubernetesSchemas()
    const location = `${folder}/{{ .ResourceKind }}{{ .KindSuffix }}.json`
    const files = [...generatedFiles().keys()]
    const args = ['-strict', '-summary', '-schema-location', location, ...files]
    const { status, stdout, stderr } = spawnSync(tool('kubeconform'), args, {
      cwd: root,
      encoding: 'utf8',
    })
    expect(`${stdout}${stderr}`).toContain('Invalid: 0, Errors: 0, Skipped: 0')
    expect(status).toBe(0)
  })

  test.each(examples)('$name: the program takes its configuration', (example) => {
    const map = objectsOf(rendered(example)).find(({ kind }) => kind === 'ConfigMap')
    const text = map?.data['edge.yaml'] ?? ''
    const file = { path: '/etc/quic-proxy-waf/edge.yaml', name: 'edge.yaml', text }
    const id = 'LPBgd3GOCMo='
    const env = {
      EDGE_ADMIN: 'unix:/run/quic-proxy-waf/admin.sock',
      AWS_LBC_QUIC_SERVER_ID: id,
      POD_QUIC_SERVER_ID: id,
      EDGE_QUIC_NEIGHBOURS_ADDRESS: '10.0.0.5',
    }
    const sources = { file, env, flags: [], folder: '/', processors: 2, installedRules: '/rules' }
    const parsed = parseConfig(sources)
    expect(parsed instanceof ConfigError ? parsed.message : '').toBe('')
  })

  test('helm test brings valid objects, too', () => {
    const flags = ['--kube-version', kubernetesVersion, '--show-only', 'templates/tests/probe.yaml']
    const { out } = helm(['template', 'my-proxy', './helm', ...flags])
    const location = `${kubernetesSchemas()}/{{ .ResourceKind }}{{ .KindSuffix }}.json`
    const args = ['-strict', '-summary', '-schema-location', location]
    const judged = spawnSync(tool('kubeconform'), args, { input: out, encoding: 'utf8' })
    expect(judged.stdout).toContain('Valid: 2, Invalid: 0, Errors: 0, Skipped: 0')
  })

  test('helm lint finds nothing', () => {
    const kube = ['--kube-version', kubernetesVersion]
    expect(helm(['lint', '--strict', './helm', ...kube])).toMatchObject({ code: 0 })
    expect(helm(['lint', '--strict', './helm', ...daemonset, ...kube])).toMatchObject({ code: 0 })
  })
})

describe('exposure', () => {
  const names = (objects: readonly KubernetesObject[]): string[] => objects.map(({ kind }) => kind)

  test('the seed: on the network of the node, no declared port, one capability', () => {
    const objects = objectsFor(daemonset)
    const { spec } = proxyOf(objects).template
    expect(spec.hostNetwork).toBe(true)
    expect(spec.containers[0]?.ports).toBeUndefined()
    expect(spec.containers[0]?.securityContext).toMatchObject({
      runAsUser: 0,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] },
    })
    expect(names(objects)).not.toContain('Service')
    expect(names(objects)).not.toContain('NetworkPolicy')
    expect(names(objects)).not.toContain('PodDisruptionBudget')
  })

  test('on the network of the node one node at a time means a pod more, not one less', () => {
    const rolling = 'daemonset.updateStrategy.rollingUpdate'
    const update = (...flags: string[]) => proxyOf(objectsFor([...daemonset, ...flags]))
    const surge = { maxSurge: 1, maxUnavailable: 0 }
    expect(update().updateStrategy).toMatchObject({ rollingUpdate: surge })
    expect(update('--set', `${rolling}.maxSurge=0`).updateStrategy).toMatchObject({
      rollingUpdate: { maxSurge: 0, maxUnavailable: 1 },
    })
    const onDelete = update('--set', 'daemonset.updateStrategy.type=OnDelete').updateStrategy
    expect(onDelete).toEqual({ type: 'OnDelete', rollingUpdate: { maxUnavailable: 1 } })
  })

  test('high ports of the node need no root', () => {
    const ports = ['--set', 'proxy.ports.http=8080,proxy.ports.https=8443']
    const { spec } = proxyOf(objectsFor([...daemonset, ...ports])).template
    expect(spec.containers[0]?.securityContext).toMatchObject({
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
    })
  })

  test('host ports: TCP and UDP, without root', () => {
    const set = 'proxy.kind=daemonset,proxy.ports.useHostPorts=true'
    const [container] = proxyOf(objectsFor(['--set', set])).template.spec.containers
    const ports = container?.ports?.map(({ hostPort, protocol }) => `${hostPort}/${protocol}`)
    expect(ports).toEqual(['80/TCP', '443/TCP', '443/UDP', 'undefined/TCP'])
    expect(container?.securityContext).toMatchObject({ runAsUser: 65_532 })
  })

  test('addresses of nodes: a Service of our class, a pod more in updates, no root', () => {
    const objects = objectsFor(['--set', 'proxy.kind=daemonset,service.healthCheckNodePort=32080'])
    const service = objects.find(({ metadata }) => metadata.name.endsWith('-service'))
    expect(service?.spec).toMatchObject({
      type: 'LoadBalancer',
      loadBalancerClass: loadBalancerClassDefault,
      externalTrafficPolicy: 'Local',
      allocateLoadBalancerNodePorts: false,
      healthCheckNodePort: 32_080,
    })
    const { updateStrategy, template } = proxyOf(objects)
    expect(updateStrategy).toMatchObject({ rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } })
    const ports = template.spec.containers[0]?.ports ?? []
    expect(ports.filter(({ hostPort }) => hostPort !== undefined)).toEqual([])
    expect(template.spec.containers[0]?.securityContext).toMatchObject({ runAsNonRoot: true })
  })

  test('the pods of a node meet each other, on that node and before they are ready', () => {
    const meeting = (set: string) => {
      const objects = objectsFor(['--set', set])
      const named = objects.find(({ metadata }) => metadata.name.endsWith('-neighbours'))
      const said = JSON.stringify(objects)
      const parts = ['EDGE_QUIC_NEIGHBOURS_ADDRESS', '"port":"neighbours"', 'meet: my-proxy-']
      return { spec: named?.spec, parts: parts.map((part) => said.split(part).length - 1) }
    }
    const { spec, parts } = meeting('proxy.kind=daemonset,quic.neighbours.port=9555')
    expect(spec).toMatchObject({
      internalTrafficPolicy: 'Local',
      publishNotReadyAddresses: true,
      ports: [{ port: 9555, targetPort: 'neighbours', protocol: 'UDP' }],
    })
    // In the pod, in and out of the NetworkPolicy, and in the configuration.
    expect(parts).toEqual([1, 2, 1])
    for (const set of [
      'proxy.kind=daemonset,quic.neighbours.enabled=false',
      'proxy.kind=daemonset,proxy.ports.useHostPorts=true',
      'proxy.kind=deployment',
    ]) {
      expect(meeting(set), set).toEqual({ spec: undefined, parts: [0, 0, 0] })
    }
  })

  test('only the controller has a token, and writes one thing', () => {
    const objects = objectsFor(['--set', 'proxy.kind=daemonset'])
    const tokens = objects
      .filter(({ kind }) => kind === 'DaemonSet' || kind === 'Deployment')
      .map(({ kind, spec }) => [kind, spec.template.spec.automountServiceAccountToken])
    expect(tokens).toEqual([
      ['DaemonSet', false],
      ['Deployment', true],
    ])
    const rules = objects
      .filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole')
      .flatMap((role) => role.rules ?? [])
      .map(({ resources, verbs }) => `${resources.join()} ${verbs.join()}`)
    expect(rules.toSorted()).toEqual([
      'endpointslices list,watch',
      'leases get,update',
      'nodes list,watch',
      'services list,watch',
      'services/status patch',
    ])
    expect(objectsFor([]).filter(({ metadata }) => /controller/.test(metadata.name))).toEqual([])
  })

  test('a Service for everything else, with UDP', () => {
    const service = objectsFor([]).find(({ kind }) => kind === 'Service')
    expect(service?.spec).toMatchObject({
      type: 'LoadBalancer',
      ports: [
        { name: 'http', port: 80, protocol: 'TCP' },
        { name: 'http3', port: 443, protocol: 'UDP' },
        { name: 'https', port: 443, protocol: 'TCP' },
      ],
    })
  })
})

describe('the mesh', () => {
  let objects: readonly KubernetesObject[] = []
  beforeAll(() => {
    objects = objectsFor(['--set', 'mesh.enabled=true'])
  })
  const podOf = (kind: string, suffix: string) =>
    objects.find((one) => one.kind === kind && one.metadata.name.endsWith(suffix))?.spec.template
      .spec

  test('is off by default', () => {
    expect(objectsFor([]).filter(({ metadata }) => /mesh/.test(metadata.name))).toEqual([])
  })

  test('its coordinator has exactly these rights, and nobody else has any', () => {
    const rules = objects
      .filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole')
      .flatMap(({ kind, rules = [] }) =>
        rules.map(({ resources, verbs }) => `${kind} ${resources.join()} ${verbs.join()}`),
      )
    expect(rules.toSorted()).toEqual([
      'ClusterRole events create',
      'ClusterRole nodes list,watch,patch',
      'ClusterRole tokenreviews create',
      'Role configmaps get,patch',
      'Role gateways list,watch',
      'Role peers list,watch,create,patch,delete',
      'Role peers/status,gateways/status patch',
      'Role pods get',
    ])
    const subjects = objects
      .filter(({ kind }) => kind.endsWith('RoleBinding'))
      .flatMap((binding) => ('subjects' in binding ? (binding.subjects as object[]) : []))
    const account = 'my-proxy-quic-proxy-waf-mesh-coordinator'
    const only = { kind: 'ServiceAccount', name: account, namespace: 'default' }
    expect(subjects).toEqual([only, only])
  })

  test('an agent has one capability, no privilege and no token but that of the mesh', () => {
    const pod = podOf('DaemonSet', '-mesh-agent')
    expect(pod?.automountServiceAccountToken).toBe(false)
    expect(pod?.containers.map(({ securityContext }) => securityContext)).toEqual([
      expect.objectContaining({
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
      }),
    ])
    expect(JSON.stringify(pod)).toContain(`"audience":"${audienceDefault}"`)
    expect(JSON.stringify(pod).split('serviceAccountToken"')).toHaveLength(2)
  })

  test('proxies that use it have no right more, and no file of the agent', () => {
    const set = 'mesh.enabled=true,proxy.mesh=true'
    const all = objectsFor(['--set', set])
    const proxy = all.find(
      (one) => one.kind === 'Deployment' && one.metadata.name.endsWith('-proxy'),
    )
    const text = JSON.stringify(proxy?.spec.template.spec)
    expect(text).not.toContain('hostPath')
    expect(text).not.toContain('NET_ADMIN')
    expect(text).toContain('{"key":"names.json","path":"names.json"}')
    expect(render(['--set', 'proxy.mesh=true']).err).toContain('mend: set mesh.enabled to true')
  })

  test('its objects are defined without a place for a private key', () => {
    const text = readFileSync(join(root, 'helm/files/mesh-crds.yaml'), 'utf8')
    const defined = objectsOf(text).map(({ metadata }) => metadata.name)
    expect(defined).toEqual([`peers.${group}`, `gateways.${group}`])
    expect(text).not.toMatch(/privateKey|presharedKey/i)
  })
})

describe('the WAF as a service', () => {
  let objects: readonly KubernetesObject[] = []
  beforeAll(() => {
    objects = objectsFor(['--set', 'waf.mode=service,proxy.waf.timeout=2000'])
  })
  const named = (kind: string, suffix: string): KubernetesObject | undefined =>
    objects.find(
      ({ kind: found, metadata }) => found === kind && metadata.name.endsWith(`-${suffix}`),
    )

  test('its pods have no privilege, and the proxies know where they are', () => {
    const pods = named('Deployment', 'waf')?.spec
    expect(pods).toMatchObject({ replicas: 2, strategy: { rollingUpdate: { maxUnavailable: 0 } } })
    expect(pods?.template.spec.containers[0]?.securityContext).toMatchObject({
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    expect(named('Service', 'waf')?.spec).toMatchObject({ clusterIP: 'None' })
    const text = named('ConfigMap', 'config')?.data['edge.yaml'] ?? ''
    expect(parse(text)).toMatchObject({
      waf: {
        budget: '2000ms',
        service: { endpoints: [expect.stringMatching(/-waf:9001$/)], timeout: '2500ms' },
      },
    })
  })

  test('only proxies may ask, as far as a NetworkPolicy can tell', () => {
    const labels = { 'app.kubernetes.io/component': 'proxy' }
    const from = [{ podSelector: { matchLabels: expect.objectContaining(labels) } }]
    expect(named('NetworkPolicy', 'waf')?.spec).toMatchObject({ ingress: [{ from }] })
    const onHost = objectsFor([...daemonset, '--set', 'waf.mode=service'])
    const policy = onHost.find(({ kind }) => kind === 'NetworkPolicy')?.spec
    expect(policy).toMatchObject({ ingress: [expect.not.objectContaining({ from })] })
    const { out } = render([...daemonset, '--set', 'waf.mode=service'])
    expect(out).not.toContain('secretFile')
  })

  test('where nothing is inspected nobody is asked', () => {
    const off = objectsFor(['--set', 'waf.mode=service,waf.enabled=false'])
    expect(off.filter(({ kind }) => kind === 'Deployment')).toHaveLength(1)
  })
})

describe('changes', () => {
  const checksum = (set: string): string | undefined =>
    proxyOf(objectsFor(['--set', set])).template.metadata.annotations['checksum/restart']

  test('what reloads restarts nothing; what cannot does', () => {
    const before = checksum('proxy.backend.host=a')
    const reloaded = 'proxy.backend.host=b,config.waf.paranoia=3,config.listen.redirect=false'
    expect(checksum(reloaded)).toBe(before)
    expect(checksum('proxy.backend.host=a,config.waf.workers=3')).not.toBe(before)
    expect(checksum('proxy.backend.host=a,config.limits.workerQueueMax=3')).not.toBe(before)
  })

  test('every setting that a running program cannot take over is in the checksum', () => {
    const source = readFileSync(join(root, 'proxy/unchangeable.ts'), 'utf8')
    const paths = [...source.matchAll(/^ {2}\['([^']+)'/gm)].map((match) => match[1] ?? '')
    const template = readFileSync(join(root, 'helm/templates/_config.tpl'), 'utf8')
    const line = template.split('\n').find((text) => text.includes('"limits.workerQueueMax"')) ?? ''
    const listed = [...line.matchAll(/"([a-z]\w*(?:\.\w+)*)"/g)].map((match) => match[1] ?? '')
    // The environment gives admin, and never another one.
    expect(listed.toSorted()).toEqual(paths.filter((path) => path !== 'admin').toSorted())
    expect(listed.length).toBeGreaterThan(10)
  })
})

describe('what is refused, and how', () => {
  const refusals: readonly (readonly [string, string, readonly string[]])[] = [
    ['proxy.knd=daemonset', 'knd', []],
    ['proxy.kind=demonset', 'proxy.kind', []],
    ['proxy.exposure=nodeAdress', 'proxy.exposure', []],
    ['proxy.exposure=nodeAddress', 'mend: set proxy.kind to daemonset', []],
    ['proxy.exposure=nodeAddress', 'proxy.ports.useHostPorts: true contradicts', daemonset],
    ['proxy.kind=daemonset,service.externalTrafficPolicy=Cluster', 'means Local', []],
    ['proxy.kind=daemonset,service.loadBalancerClass=x/y', 'service.loadBalancerClass: x/y', []],
    ['proxy.kind=daemonset,service.type=NodePort', 'mend: leave it at LoadBalancer', []],
    ['proxy.kind=daemonset,service.nodePorts.http=30080', 'mend: remove service.nodePorts', []],
    ['proxy.kind=daemonset,controller.replicaCount=0', 'controller.replicaCount: 0', []],
    ['proxy.kind=daemonset,controller.addressTypes={Hostname}', 'controller.addressTypes', []],
    ['proxy.kind=daemonset', 'nodeAddress needs Kubernetes 1.26', ['--kube-version', '1.25.16']],
    ['service.healthCheckNodePort=32000', 'mend: set that, or remove the port', []],
    ['proxy.ports.http=99999', 'proxy.ports.http', []],
    ['config.waf.paranoia=7', 'config.waf.paranoia', []],
    ['config.upstream=x', 'upstream', []],
    ['waf.mode=servce', 'waf.mode', []],
    [
      'waf.mode=service,config.waf.service.endpoints[0]=a:1',
      'mend: remove it, or set waf.mode to embedded',
      [],
    ],
    ['waf.mode=service,waf.service.port=9001', 'port and questionsPort are both 9001', []],
    [
      'proxy.kind=daemonset,proxy.ports.useHostPorts=true,' +
        'daemonset.updateStrategy.rollingUpdate.maxSurge=1,' +
        'daemonset.updateStrategy.rollingUpdate.maxUnavailable=0',
      'daemonset.updateStrategy.rollingUpdate.maxSurge: a host port belongs to one pod of a node',
      [],
    ],
    ['daemonset.updateStrategy.rollingUpdate.maxSurge=1', 'takes only one of them', daemonset],
    ['drain.delaySeconds=40', 'mend: set it to 110 or more', []],
    ['proxy.exposure=hostNetwork', 'mend: set proxy.kind to daemonset', []],
    ['proxy.exposure=service', 'proxy.ports.useHostPorts: true contradicts', daemonset],
    ['proxy.ports.http=443', 'http and https are both 443', []],
    ['config.listen.http=0.0.0.0:81', 'mend: use proxy.ports.http', []],
    ['hostUsers=false', 'mend: set hostUsers to null', daemonset],
    ['autoscaling.enabled=true', 'mend: set proxy.kind to deployment', daemonset],
    ['autoscaling.enabled=true,autoscaling.minReplicas=20', 'is more than maxReplicas 10', []],
    ['quic.serverId=0x1122334455667788', 'quic.serverId', []],
    ['proxy.kind=daemonset,quic.neighbours.port=8443', 'mend: give it another port', []],
    ['metrics.podMonitor.enabled=true', 'metrics.hostAddress: 127.0.0.1 answers', daemonset],
    [
      'metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true',
      'mend: leave one of them off',
      [],
    ],
    [
      'metrics.prometheusRule.enabled=true,metrics.prometheusRule.disabled={EdgeDown}',
      'there is no alert EdgeDown',
      [],
    ],
    ['metrics.podMonitor.interval=often', 'metrics.podMonitor.interval', []],
    ['config.admin=127.0.0.1:1', 'config.admin: the chart sets it', []],
    ['config.drain.delay=1s', 'mend: use drain.delaySeconds', []],
  ]
  test.each(refusals)('%s', (set, said, flags) => {
    const { code, err } = render([...flags, '--set', set])
    expect(code).not.toBe(0)
    expect(err.replaceAll('/', '.')).toContain(said.replaceAll('/', '.'))
  })
})

test('nothing of a machine is in the chart', () => {
  expect(existsSync(join(root, 'helm/charts'))).toBe(false)
  const chart: { readonly kubeVersion: string } = parse(
    readFileSync(join(root, 'helm/Chart.yaml'), 'utf8'),
  )
  expect(chart.kubeVersion).toBe('>=1.25.0-0')
})
