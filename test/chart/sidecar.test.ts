/** The chart of seed 000: its commands word by word, what its pods may do, what it refuses. */
import { beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { rendered } from './generated.ts'
import { seedFlags, sidecarKnown, sidecarRelease } from './sidecar.ts'
import { helm, type HelmResult, kubernetesVersion, render, tool } from './tools.ts'
import { strayPaths } from './values-schema.ts'

// The first run builds helm: minutes on a small machine, nothing later.
const buildTimeoutMs = 15 * 60_000

beforeAll(() => {
  tool('helm')
}, buildTimeoutMs)

interface Sidecar {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace: string }
  readonly data?: Readonly<Record<string, string>>
  readonly spec?: {
    readonly template?: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> }
      readonly spec: {
        readonly nodeSelector?: Readonly<Record<string, string>>
        readonly automountServiceAccountToken: boolean
        readonly initContainers?: readonly object[]
        readonly volumes: readonly { readonly hostPath?: { readonly path: string } }[]
        readonly containers: readonly {
          readonly securityContext: Readonly<Record<string, unknown>>
          readonly env: readonly { readonly name: string; readonly value?: string }[]
        }[]
      }
    }
  }
}

function template(flags: readonly string[], values = ''): HelmResult {
  return render(flags, values, 'helm', sidecarRelease)
}

function objectsFor(flags: readonly string[], values = ''): Sidecar[] {
  const text = rendered({ name: '', flags, values, release: sidecarRelease })
  return parseAllDocuments(text).flatMap((document) => {
    const object: Sidecar | null = document.toJS()
    return object === null ? [] : [object]
  })
}

function podOf(objects: readonly Sidecar[]) {
  const found = objects.find(({ kind }) => kind === 'DaemonSet')?.spec?.template
  const container = found?.spec.containers[0]
  if (found === undefined || container === undefined) throw new Error('there is no agent')
  return { ...found.spec, labels: found.metadata.labels, container }
}

test("the seed's command: names, labels, Secret and environment", () => {
  const objects = objectsFor(seedFlags)
  const { labels, container } = podOf(objects)
  expect(objects.map(({ kind }) => kind).toSorted()).toEqual([
    'DaemonSet',
    'NetworkPolicy',
    'Secret',
    'ServiceAccount',
  ])
  expect(new Set(objects.map(({ metadata }) => metadata.namespace))).toEqual(
    new Set(['edgelink-system']),
  )
  const secret = objects.find(({ kind }) => kind === 'Secret')
  expect(secret?.metadata.name).toBe('edgelink-sidecar-psk')
  expect(Buffer.from(secret?.data?.['psk'] ?? '', 'base64').toString()).toBe('your-psk-here')
  expect(labels['app.kubernetes.io/name']).toBe('edgelink-sidecar')
  expect(container.env).toEqual([
    { name: 'EDGELINK_SERVER', value: 'https://api.edgelink.example.com' },
    {
      name: 'EDGELINK_PSK',
      valueFrom: { secretKeyRef: { name: 'edgelink-sidecar-psk', key: 'psk' } },
    },
    { name: 'EDGELINK_DEVICE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
    { name: 'EDGELINK_LOG_LEVEL', value: 'info' },
  ])
})

test('one capability and no privilege; in netstack mode neither, and nothing of the node', () => {
  const { container, automountServiceAccountToken, initContainers } = podOf(objectsFor(seedFlags))
  expect(container.securityContext).toMatchObject({
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
  })
  expect(automountServiceAccountToken).toBe(false)
  expect(initContainers).toBeUndefined()
  const bare = podOf(objectsFor([...seedFlags, '--set', 'edgelink.mode=netstack']))
  expect(bare.container.securityContext).toMatchObject({
    runAsNonRoot: true,
    runAsUser: 65_532,
    capabilities: { drop: ['ALL'] },
  })
  expect(bare.container.securityContext['capabilities']).not.toHaveProperty('add')
  expect(bare.volumes.filter(({ hostPath }) => hostPath !== undefined)).toEqual([])
})

test('capabilities of the pod go to the container; privilege is what is said', () => {
  const values = `
podSecurityContext: { capabilities: { add: [NET_ADMIN, NET_RAW] }, fsGroup: 7 }
securityContext: { privileged: true }
`
  const pod = podOf(objectsFor([], values))
  expect(pod).toMatchObject({ securityContext: { fsGroup: 7 } })
  expect(pod).not.toMatchObject({ securityContext: { capabilities: expect.anything() } })
  expect(pod.container.securityContext).toMatchObject({
    privileged: true,
    allowPrivilegeEscalation: true,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
  })
})

test('without a key the Secret that a person made is read', () => {
  const objects = objectsFor([])
  expect(objects.map(({ kind }) => kind)).not.toContain('Secret')
  const { container } = podOf(objects)
  expect(container.env[1]).toMatchObject({
    valueFrom: { secretKeyRef: { name: 'edgelink-psk', key: 'psk' } },
  })
})

const refusals: readonly (readonly [string, string])[] = [
  ['edgelink.preSharedKey=change-me-in-production', 'this key is in every copy'],
  ['edgelink.existingSecret=', 'mend: set edgelink.preSharedKey'],
  ['edgelink.serverUrl=http://here', 'edgelink.serverUrl'],
  ['edgelink.logLevel=loud', 'edgelink.logLevel'],
  ['edgelink.mode=userspace', 'edgelink.mode'],
  ['edgelink.psk=x', 'psk'],
  ['edgelink.port=70000', 'edgelink.port'],
  ['edgelink.advertise={10.0.0.1}', 'edgelink.advertise'],
]
test.each(refusals)('%s is refused', (set, said) => {
  const { code, err } = template(['--set', set])
  expect(code).not.toBe(0)
  expect(err.replaceAll('/', '.')).toContain(said.replaceAll('/', '.'))
})

test('helm lint finds nothing, and every known path is a value', () => {
  const kube = ['--kube-version', kubernetesVersion]
  expect(helm(['lint', '--strict', sidecarRelease[1], ...kube])).toMatchObject({ code: 0 })
  expect(strayPaths('helm/edgelink-sidecar/values.yaml', sidecarKnown)).toEqual([])
})
