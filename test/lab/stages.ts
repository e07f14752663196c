/** What is done with the chart in the lab. */
import { edgelink } from './edgelink.ts'
import { eventually } from './lab.ts'
import { mesh } from './mesh.ts'
import { nodeAddress, nodeAddressLoss } from './node-address.ts'
import { attack, backend, differs, release, seed, type Stage } from './stage.ts'
import { hostPortUpdate, nodeAddressUpdate, outage, update } from './updates.ts'

/** The seed's command, then certificates and settings that come while it runs, then its end. */
async function daemonset(stage: Stage): Promise<void> {
  const { lab } = stage
  await stage.release('install', [...seed, ...backend])
  for (const node of stage.nodes) stage.serves(lab.node(node))
  stage.probes()
  const before = stage.pods()
  stage.certificate()
  const secure = `${lab.node(1)}:443`
  await eventually(() => servesName(stage, secure, 'lab.example'))
  stage.check('a Secret that comes later is served', null)
  lab.must([
    'helm',
    'upgrade',
    release,
    './helm',
    ...seed,
    ...backend,
    '--set',
    'proxy.waf.mode=detect',
  ])
  await eventually(() => differs(stage.get('h2', secure, attack), { status: 200 }))
  stage.check('a ConfigMap that changes is in force', null)
  stage.check('nothing restarted for either', stage.pods() === before ? null : stage.pods())
  lab.must(['helm', 'rollback', release, '1'])
  await eventually(() => differs(stage.get('h2', secure, attack), { status: 403 }))
  stage.check('helm rollback takes the setting back', null)
  await stage.release('upgrade', [...seed, ...backend, '--set', 'config.waf.workers=1'])
  stage.check('a setting that needs it restarts the pods', stage.pods() === before ? before : null)
  stage.serves(lab.node(2))
  lab.must(['helm', 'uninstall', release, '--wait'])
  stage.noCertificate()
  // The pods still drain when helm is done.
  const kinds = 'all,configmaps,networkpolicies,serviceaccounts,pdb'
  await eventually(() => {
    const left = lab.must(['k', 'get', kinds, '-o', 'name'])
    return left.includes(release) ? left : null
  })
  stage.check('helm uninstall leaves nothing', null)
}

function servesName({ lab }: Stage, address: string, name: string): string | null {
  const flags = ['-connect', address, '-servername', name]
  const { out } = lab.run(['client', 'openssl', 's_client', ...flags], 'Q\n')
  return out.includes(`subject=CN = ${name}`) ? null : out.slice(0, 300)
}

/** Pods without root or capability behind a Service, in a namespace that asks for that. */
async function deployment(stage: Stage): Promise<void> {
  const { lab } = stage
  const label = 'pod-security.kubernetes.io/enforce=restricted'
  lab.must(['k', 'label', '--overwrite', 'namespace', 'default', label])
  const ports = 'service.nodePorts.http=30080,service.nodePorts.https=30443'
  const service = ['--set', `service.type=NodePort,${ports},service.nodePorts.http3=30443`]
  await stage.release('install', [...backend, ...service, '--set', 'proxy.kind=deployment'])
  stage.serves(lab.node(1), { http: 30_080, https: 30_443 })
  stage.probes()
  const { out } = lab.run(['k', 'get', 'pdb', '-o', 'name'])
  stage.check('it has a disruption budget', out.includes('proxy-pdb') ? null : out)
  lab.must(['helm', 'uninstall', release, '--wait'])
  lab.must(['k', 'label', 'namespace', 'default', 'pod-security.kubernetes.io/enforce-'])
}

/** Host ports without the network of the node: no root. */
async function hostPort(stage: Stage): Promise<void> {
  const set = 'proxy.kind=daemonset,proxy.ports.useHostPorts=true'
  await stage.release('install', [...backend, '--set', set])
  for (const node of stage.nodes) stage.serves(stage.lab.node(node))
  stage.probes()
}

/** The seed's other ports. */
async function alternatePorts(stage: Stage): Promise<void> {
  const set = 'proxy.ports.http=8080,proxy.ports.https=8443'
  await stage.release('install', [...seed, ...backend, '--set', set])
  stage.serves(stage.lab.node(3), { http: 8_080, https: 8_443 })
}

/** Labelled and tainted nodes only. */
async function selection(stage: Stage): Promise<void> {
  const { lab } = stage
  const name =
    lab.must(['k', 'get', 'nodes', '-o', 'name']).split('\n')[1]?.slice('node/'.length) ?? ''
  lab.must(['k', 'label', 'nodes', name, 'node-role.kubernetes.io/edge=true'])
  lab.must(['k', 'taint', 'nodes', name, 'edge=true:NoSchedule'])
  const wanted = JSON.stringify([
    { key: 'edge', operator: 'Equal', value: 'true', effect: 'NoSchedule' },
  ])
  const flags = ['--set-json', `tolerations=${wanted}`, '--set-string']
  flags.push('nodeSelector.node-role\\.kubernetes\\.io/edge=true')
  await stage.release('install', [...seed, ...backend, ...flags])
  const count = stage.pods().split(';').length - 1
  stage.check('one pod, on the node that was meant', count === 1 ? null : String(count))
  stage.serves(lab.node(2))
  lab.must(['k', 'taint', 'nodes', name, 'edge-'])
  lab.must(['k', 'label', 'nodes', name, 'node-role.kubernetes.io/edge-'])
}

/** The WAF in pods of its own: the proxies say what those say, and refuse when none is left. */
async function wafService(stage: Stage): Promise<void> {
  const { lab } = stage
  const waf = 'deployment/my-proxy-quic-proxy-waf-waf'
  const ofWaf = ['-l', 'app.kubernetes.io/component=waf']
  await stage.release('install', [...seed, ...backend, '--set', 'waf.mode=service'])
  await eventually(() => differs(stage.get('h2', `${lab.node(1)}:443`), { status: 200 }))
  for (const node of stage.nodes) stage.serves(lab.node(node))
  stage.probes()
  const [first = ''] = lab.must(['k', 'get', 'pods', ...ofWaf, '-o', 'name']).split('\n')
  lab.must(['k', 'delete', first, '--wait=false'])
  for (const node of stage.nodes) stage.serves(lab.node(node))
  lab.must(['k', 'scale', waf, '--replicas=0'])
  await eventually(() => differs(stage.get('h3', `${lab.node(2)}:443`), { status: 503 }))
  stage.check('without a WAF pod nothing passes', null)
  stage.healthy(2)
  lab.must(['k', 'scale', waf, '--replicas=2'])
  await eventually(() => differs(stage.get('h3', `${lab.node(2)}:443`), { status: 200 }))
  stage.serves(lab.node(2))
}

/** A node that is gone from one moment to the next: the others serve on. It is the last stage. */
async function nodeLoss(stage: Stage): Promise<void> {
  const { lab } = stage
  await stage.release('install', [...seed, ...backend])
  lab.must(['rmnode', String(stage.nodes.length)])
  for (const node of stage.nodes.slice(0, -1)) stage.healthy(node)
  // A backend of the lost node is served by the others once Kubernetes has seen it.
  await eventually(() => differs(stage.get('h3', `${lab.node(1)}:443`), { status: 200 }))
  stage.serves(lab.node(2))
}

/** By name, in the order in which they run. */
export const stages: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  daemonset,
  deployment,
  hostPort,
  alternatePorts,
  selection,
  wafService,
  nodeAddress,
  nodeAddressUpdate,
  update,
  hostPortUpdate,
  outage,
  mesh,
  edgelink,
  nodeAddressLoss,
  nodeLoss,
}
