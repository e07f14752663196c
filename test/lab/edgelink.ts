/** The chart `helm/edgelink-sidecar` as seed 000 installs it, beside a coordinator of its own. */
import { eventually } from './lab.ts'
import type { Stage } from './stage.ts'

const namespace = 'edgelink-system'
const name = 'edgelink-sidecar'
const selector = ['-l', `app.kubernetes.io/name=${name}`]

/** Installs, joins, shows and takes everything away again. */
export async function edgelink(stage: Stage): Promise<void> {
  const { lab } = stage
  lab.must(['k', 'create', 'namespace', namespace])
  try {
    await joins(stage)
  } finally {
    lab.run(['helm', 'uninstall', name, '-n', namespace, '--ignore-not-found', '--wait'])
    lab.must(['k', 'delete', 'namespace', namespace], '', 180_000)
  }
  const left = lab.must(['k', 'get', 'all', '-A', ...selector, '-o', 'name'])
  stage.check('edgelink-sidecar: helm uninstall leaves nothing', left === '' ? null : left)
}

async function joins(stage: Stage): Promise<void> {
  const { lab } = stage
  const key = await coordinator(stage)
  const values = [
    `edgelink.serverUrl=https://${lab.node(1)}:7443`,
    `edgelink.preSharedKey=${key}`,
    // Nodes of the lab share a disk: this folder is one that each has for itself.
    'edgelink.stateDir=/var/lib/kubelet/edgelink',
  ]
  lab.must([
    'helm',
    'install',
    name,
    './helm/edgelink-sidecar',
    '-n',
    namespace,
    '--set',
    values.join(),
  ])
  const wait = ['rollout', 'status', `daemonset/${name}`, '--timeout=120s']
  lab.must(['k', '-n', namespace, ...wait], '', 150_000)
  stage.check('edgelink-sidecar: a pod on each node is ready', null)
  const pods = lab.must(['k', 'get', 'pods', '-n', namespace, ...selector, '-o', 'name'])
  for (const pod of pods.trim().split('\n')) {
    const ask = ['k', 'exec', '-n', namespace, pod, '--', 'edgelink-lite', '--status']
    // oxlint-disable-next-line no-await-in-loop -- one look at a time
    await eventually(() => {
      const { code, out } = lab.run(ask)
      const others = stage.nodes.filter((node) => out.includes(lab.nodeName(node)))
      return code === 0 && others.length === stage.nodes.length ? null : `${code}: ${out}`
    })
  }
  stage.check('edgelink-lite --status in each pod: every node', null)
  const path = 'jsonpath={.data.psk}'
  const secret = lab.must(['k', 'get', 'secret', '-n', namespace, `${name}-psk`, '-o', path])
  const isKey = Buffer.from(secret, 'base64').toString() === key
  stage.check('the Secret edgelink-sidecar-psk', isKey ? null : 'holds another key')
}

/** A coordinator on the first node; what it prints as a token for every node. */
async function coordinator({ lab }: Stage): Promise<string> {
  const state = '/var/lib/coordinator'
  const container = {
    name: 'coordinator',
    image: 'lab.local/quic-proxy-waf:dev',
    args: ['mesh', 'coordinator', '--listen', '0.0.0.0:7443', '--state', state],
    volumeMounts: [{ name: 'state', mountPath: state }],
  }
  const spec = {
    nodeName: lab.nodeName(1),
    hostNetwork: true,
    securityContext: { runAsUser: 65_532, fsGroup: 65_532 },
    containers: [container],
    volumes: [{ name: 'state', emptyDir: {} }],
    tolerations: [{ operator: 'Exists' }],
  }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'coordinator', namespace }, spec }
  lab.must(['k', 'apply', '-f', '-'], JSON.stringify(pod))
  const ask = ['mesh', 'token', '--state', state, '--uses', '10']
  let token = ''
  await eventually(() => {
    const { code, out } = lab.run([
      'k',
      'exec',
      '-n',
      namespace,
      'coordinator',
      '--',
      'edge',
      ...ask,
    ])
    token = out.trim()
    return code === 0 ? null : out
  })
  return token
}
