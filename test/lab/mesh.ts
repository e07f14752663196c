/** The mesh in the lab: nodes that join by the tokens of their pods, and what Kubernetes shows. */
import { annotations } from '../../mesh/kubernetes/terms.ts'
import { eventually } from './lab.ts'
import { connected, stateOnNode, statusOf } from './mesh-agents.ts'
import { locationLabel, locations } from './mesh-locations.ts'
import { relays } from './mesh-relays.ts'
import { backend, differs, release, type Stage } from './stage.ts'

const name = `${release}-quic-proxy-waf`
const account = 'system:serviceaccount:default'

interface Peer {
  readonly metadata: { readonly name: string }
  readonly spec: { readonly publicKey: string }
  readonly status?: {
    readonly meshIPs?: readonly string[]
    readonly allowedIPs?: readonly string[]
    readonly conditions?: readonly { readonly type: string; readonly reason: string }[]
  }
}

/** Three nodes, pods that reach each other through the tunnel, forged keys, a node that goes. */
export async function mesh(stage: Stage): Promise<void> {
  const { lab } = stage
  for (const node of stage.nodes) giveRanges(stage, node)
  const upstream = 'config.upstreams[0].name=far'
  const url = `config.upstreams[0].endpoints[0].url=mesh://${lab.nodeName(2)}:8080`
  // Nodes of the lab share a disk: this folder is one that each has for itself.
  const flags = [
    ...backend,
    '--set',
    `mesh.enabled=true,mesh.agent.stateDir=${stateOnNode}`,
    '--set',
    // Port 443 of the nodes is free: the proxy is a Deployment here.
    'mesh.agent.relay.mode=auto,mesh.agent.relay.h3Port=443,mesh.agent.relay.tcpPort=443',
    '--set',
    `mesh.locationLabel=${locationLabel}`,
    '--set',
    'proxy.mesh=true,proxy.kind=deployment,proxy.replicaCount=1,service.type=NodePort',
    '--set',
    'service.nodePorts.http=30080,service.nodePorts.https=30443,service.nodePorts.http3=30443',
    '--set',
    `${upstream},${url}`,
  ]
  await stage.release('install', flags)
  lab.must(
    ['k', 'rollout', 'status', '--timeout=120s', `daemonset/${name}-mesh-agent`],
    '',
    150_000,
  )
  for (const node of stage.nodes) await shownIn(stage, node)
  stage.check('annotations of each node, and a Peer with conditions', null)
  for (const node of stage.nodes) await connected(stage, node, stage.nodes.length - 1)
  stage.check('edge mesh status in each pod: every other node', null)
  rights(stage)
  await podToPod(stage)
  await relays(stage)
  await locations(stage)
  await throughProxy(stage)
  await forgedKey(stage)
  await people(stage)
  await coordinatorLost(stage)
  await nodeRemoved(stage)
}

/** The controller manager of the lab gives none, and the CNI has them already. */
function giveRanges({ lab }: Stage, node: number): void {
  const podCIDRs = [`10.244.${node}.0/24`, `fd00:10:244:${node}::/64`]
  const spec = JSON.stringify({ spec: { podCIDR: podCIDRs[0], podCIDRs } })
  lab.must(['k', 'patch', 'node', lab.nodeName(node), '-p', spec])
}

function nodeAnnotations({ lab }: Stage, node: number): Record<string, string> {
  const path = 'jsonpath={.metadata.annotations}'
  const text = lab.must(['k', 'get', 'node', lab.nodeName(node), '-o', path])
  return JSON.parse(text) as Record<string, string>
}

function peers({ lab }: Stage): readonly Peer[] {
  const text = lab.must(['k', 'get', 'peers.mesh.quic-proxy-waf', '-o', 'json'])
  return (JSON.parse(text) as { items: readonly Peer[] }).items
}

function reasonOf(stage: Stage, peer: string, type: string): string {
  const found = peers(stage).find(({ metadata }) => metadata.name === peer)
  return found?.status?.conditions?.find((one) => one.type === type)?.reason ?? 'nothing'
}

async function shownIn(stage: Stage, node: number): Promise<void> {
  const ranges = `10.244.${node}.0/24,fd00:10:244:${node}::/64`
  await eventually(() => {
    const shown = nodeAnnotations(stage, node)
    const isKey = /^[\w+/]{43}=$/.test(shown[annotations.seedKey] ?? '')
    const isAddress = (shown[annotations.seedAddress] ?? '').startsWith('100.96.')
    const isAll = isKey && isAddress && shown[annotations.ranges] === ranges
    return isAll ? null : JSON.stringify(shown)
  })
  const of = stage.lab.nodeName(node)
  await eventually(() => {
    const reasons = ['Accepted', 'Conflicted', 'KeyGenuine'].map((type) =>
      reasonOf(stage, of, type),
    )
    return reasons.join() === 'Joined,NoConflict,Signed' ? null : reasons.join()
  })
}

/** What each account may do, as the API server sees it. */
function rights(stage: Stage): void {
  const { lab } = stage
  const cases: readonly (readonly [string, readonly string[], string])[] = [
    ['coordinator', ['patch', 'nodes'], 'yes'],
    ['coordinator', ['create', 'tokenreviews.authentication.k8s.io'], 'yes'],
    ['coordinator', ['delete', 'nodes'], 'no'],
    ['coordinator', ['get', 'secrets'], 'no'],
    ['agent', ['list', 'nodes'], 'no'],
    ['agent', ['patch', 'nodes'], 'no'],
    ['agent', ['list', 'peers.mesh.quic-proxy-waf'], 'no'],
  ]
  for (const [who, what, wanted] of cases) {
    const as = `--as=${account}:${name}-mesh-${who}`
    const { out } = lab.run(['k', 'auth', 'can-i', ...what, as])
    const answer = out.split('\n').findLast((line) => line === 'yes' || line === 'no')
    stage.check(
      `the mesh's ${who} may ${what.join(' ')}: ${wanted}`,
      answer === wanted ? null : out,
    )
  }
}

/** A pod of each node, one of which asks the other: the tunnel counts the bytes. */
async function podToPod(stage: Stage): Promise<void> {
  const { lab } = stage
  const pod = (node: number): string => `
apiVersion: v1
kind: Pod
metadata: {name: far-${node}, labels: {app: far}}
spec:
  nodeName: ${lab.nodeName(node)}
  containers:
    - name: backend
      image: lab.local/clients:1
      imagePullPolicy: IfNotPresent
      args: [backend, -kind, h1, -address, "0.0.0.0:8080"]
`
  lab.must(['k', 'apply', '-f', '-'], [pod(1), pod(2)].join('---'))
  lab.must(['k', 'wait', '--for=condition=Ready', '--timeout=60s', 'pod', '-l', 'app=far'])
  const path = 'jsonpath={.status.podIP}'
  const address = lab.must(['k', 'get', 'pod', 'far-2', '-o', path]).trim()
  const of = lab.nodeName(2)
  const bytes = (): number => {
    const status = statusOf(stage, 1)
    if (typeof status === 'string') return 0
    return status.peers.find((peer) => peer.name === of)?.sentBytes ?? 0
  }
  const before = bytes()
  // Called as people do: the node picks the way, and the pod's address is what the other end sees.
  const program = ['/program', 'get', '-address', `${address}:8080`]
  await eventually(() => {
    const { out } = lab.run(['k', 'exec', 'far-1', '--', ...program])
    return out.includes('backend says hello') ? null : out
  }, 30_000)
  const route = lab.must(['in', '1', 'ip', 'route', 'get', address])
  stage.check(
    'the way to a pod of another node is the mesh',
    route.includes('edge0') ? null : route,
  )
  const after = bytes()
  stage.check('pod to pod over the mesh', after > before ? null : `${before} ${after} bytes`)
}

/** A proxy without any right names a node of the mesh as its backend. */
async function throughProxy(stage: Stage): Promise<void> {
  const { lab } = stage
  // On the node's own network, so that it is what the node's mesh address leads to.
  const served = `
apiVersion: v1
kind: Pod
metadata: {name: on-node, labels: {app: far}}
spec:
  nodeName: ${lab.nodeName(2)}
  hostNetwork: true
  containers:
    - name: backend
      image: lab.local/clients:1
      imagePullPolicy: IfNotPresent
      args: [backend, -kind, h1, -address, "0.0.0.0:8080"]
`
  lab.must(['k', 'apply', '-f', '-'], served)
  lab.must(['k', 'wait', '--for=condition=Ready', '--timeout=60s', 'pod', 'on-node'])
  const secure = `${lab.node(1)}:30443`
  for (const protocol of ['h1s', 'h2', 'h3'] as const) {
    await eventually(() => differs(stage.get(protocol, secure), { status: 200 }), 90_000)
    stage.check(`${protocol}: a backend mesh://NODE:PORT`, null)
  }
}

/** Whoever may write a Node cannot give it another key. */
async function forgedKey(stage: Stage): Promise<void> {
  const { lab } = stage
  const of = lab.nodeName(2)
  const before = nodeAnnotations(stage, 2)
  const key = before[annotations.seedKey] ?? ''
  const forged = Buffer.alloc(32, 7).toString('base64')
  const pairs = [annotations.seedKey, annotations.key].map((one) => `${one}=${forged}`)
  lab.must(['k', 'annotate', '--overwrite', 'node', of, ...pairs])
  await eventually(() => {
    const now = nodeAnnotations(stage, 2)
    const isRight = now[annotations.seedKey] === key && now[annotations.key] === key
    return isRight ? null : JSON.stringify(now)
  })
  stage.check('a forged key annotation is put right', null)
  await eventually(() => {
    const events = lab.must(['k', 'get', 'events', '-A', '-o', 'jsonpath={.items[*].reason}'])
    return events.includes('MeshKeyForged') ? null : events
  })
  stage.check('and told in an Event', null)
  await eventually(() => {
    const reason = reasonOf(stage, of, 'KeyGenuine')
    return reason === 'PutRight' ? null : reason
  })
  const known = peers(stage).find(({ metadata }) => metadata.name === of)?.spec.publicKey
  stage.check('nobody heard of that key', known === key ? null : String(known))
  await connected(stage, 1, stage.nodes.length - 1)
}

/** What people write: a router, one with a range that is taken, and one with a private key. */
async function people(stage: Stage): Promise<void> {
  const { lab } = stage
  const peer = (of: string, spec: object): string =>
    JSON.stringify({
      apiVersion: 'mesh.quic-proxy-waf/v1alpha1',
      kind: 'Peer',
      metadata: { name: of },
      spec,
    })
  const publicKey = Buffer.alloc(32, 3).toString('base64')
  const good = peer('router', { publicKey, allowedIPs: ['10.99.0.0/16', '10.244.1.0/24'] })
  lab.must(['k', 'apply', '-f', '-'], good)
  await eventually(() => {
    const reasons = ['Accepted', 'Conflicted'].map((type) => reasonOf(stage, 'router', type))
    return reasons.join() === 'Joined,RangeTaken' ? null : reasons.join()
  })
  stage.check("a person's Peer joins; the range that a node has is told", null)
  await connected(stage, 1, stage.nodes.length)
  const wrong: readonly (readonly [string, object])[] = [
    ['a private key', { publicKey, privateKey: publicKey }],
    ['a key of another length', { publicKey: 'AAAA' }],
    ['a default route', { publicKey, allowedIPs: ['0.0.0.0/0'] }],
    ['an endpoint that is a name', { publicKey, endpoint: 'host.example:1' }],
  ]
  for (const [what, spec] of wrong) {
    const { code, out } = lab.run(['k', 'create', '-f', '-'], peer('wrong', spec))
    stage.check(`a Peer with ${what} is refused`, code === 0 ? out : null)
    lab.run(['k', 'delete', 'peers.mesh.quic-proxy-waf', 'wrong', '--ignore-not-found'])
  }
  lab.must(['k', 'delete', 'peers.mesh.quic-proxy-waf', 'router'])
  await connected(stage, 1, stage.nodes.length - 1)
  stage.check('a deleted Peer is gone from every node', null)
}

/** Its pod goes with all that it knew: nodes keep keys and addresses, and nothing is lost. */
async function coordinatorLost(stage: Stage): Promise<void> {
  const { lab } = stage
  const before = stage.nodes.map((node) => nodeAnnotations(stage, node)[annotations.addresses])
  lab.must(['k', 'delete', 'pod', '-l', 'app.kubernetes.io/component=mesh-coordinator'])
  const wait = ['rollout', 'status', '--timeout=120s', `deployment/${name}-mesh-coordinator`]
  lab.must(['k', ...wait], '', 150_000)
  for (const node of stage.nodes) await connected(stage, node, stage.nodes.length - 1)
  const after = stage.nodes.map((node) => nodeAnnotations(stage, node)[annotations.addresses])
  const isSame = JSON.stringify(before) === JSON.stringify(after)
  stage.check('a coordinator without its folder knows the mesh', isSame ? null : String(after))
}

/** Without a word, its disk with it; later another one has its name. */
async function nodeRemoved(stage: Stage): Promise<void> {
  const { lab } = stage
  const last = stage.nodes.length
  lab.must(['rmnode', String(last)])
  for (const node of stage.nodes.slice(0, -1)) await connected(stage, node, last - 2)
  stage.check('a removed node leaves no stale peer', null)
  await eventually(() => {
    const left = peers(stage).map(({ metadata }) => metadata.name)
    return left.includes(lab.nodeName(last)) ? left.join() : null
  })
  const route = lab.must(['in', '1', 'ip', 'route'])
  stage.check('no route', route.includes(`10.244.${last}.0/24 dev edge0`) ? route : null)
  lab.must(['k', 'delete', 'pod', '-l', 'app=far', '--force', '--grace-period=0'])
  lab.must(['node', String(last)])
  await eventually(() => {
    const { code, out } = lab.run(['k', 'get', 'node', lab.nodeName(last)])
    return code === 0 ? null : out
  })
  giveRanges(stage, last)
  await shownIn(stage, last)
  for (const node of stage.nodes) await connected(stage, node, last - 1)
  stage.check('a node that is made anew is in the mesh again', null)
}
