/** The exposure nodeAddress in the lab: what it serves, who writes, and what goes with a node. */
import { eventually } from './lab.ts'
import { backend, differs, release, type Stage } from './stage.ts'

const healthPort = 32_080
const flags = [
  ...backend,
  '--set',
  `proxy.kind=daemonset,service.healthCheckNodePort=${healthPort},drain.delaySeconds=8`,
]
const account = 'system:serviceaccount:default:my-proxy-quic-proxy-waf'

/** In a namespace that asks for no rights at all: all nodes serve, one controller writes. */
export async function nodeAddress(stage: Stage): Promise<void> {
  const { lab } = stage
  const label = 'pod-security.kubernetes.io/enforce=restricted'
  lab.must(['k', 'label', '--overwrite', 'namespace', 'default', label])
  await stage.release('install', flags)
  await stage.addressed(stage.nodes)
  stage.check('the addresses of all nodes, in a restricted namespace', null)
  for (const node of stage.nodes) stage.serves(lab.node(node))
  stage.probes()
  rights(stage)
  await failover(stage)
  await withdrawal(stage)
  lab.must(['helm', 'uninstall', release, '--wait'])
  const kinds = 'all,configmaps,networkpolicies,serviceaccounts,pdb,roles,rolebindings,leases'
  await eventually(() => {
    const left = lab.must(['k', 'get', `${kinds},clusterroles,clusterrolebindings`, '-o', 'name'])
    return left.includes(release) ? left : null
  })
  stage.check('helm uninstall leaves nothing of it', null)
  lab.must(['k', 'label', 'namespace', 'default', 'pod-security.kubernetes.io/enforce-'])
}

/** What each account may do, as the API server sees it. */
function rights(stage: Stage): void {
  const service = 'services/my-proxy-quic-proxy-waf-service'
  const cases: readonly (readonly [string, readonly string[], string])[] = [
    ['controller', ['patch', service, '--subresource=status'], 'yes'],
    ['controller', ['list', 'nodes'], 'yes'],
    ['controller', ['patch', service], 'no'],
    ['controller', ['patch', 'services/another', '--subresource=status'], 'no'],
    ['controller', ['get', 'secrets'], 'no'],
    ['proxy', ['list', 'nodes'], 'no'],
    ['proxy', ['get', 'endpointslices'], 'no'],
  ]
  for (const [who, what, wanted] of cases) {
    const { out } = stage.lab.run(['k', 'auth', 'can-i', ...what, `--as=${account}-${who}`])
    // Beside it there may be a warning that nodes have no namespace.
    const answer = out.split('\n', 1)[0]
    stage.check(`the ${who} may ${what.join(' ')}: ${wanted}`, answer === wanted ? null : out)
  }
}

/** The one that leads goes; the other one takes over, and nothing is written anew. */
async function failover(stage: Stage): Promise<void> {
  const { lab } = stage
  const lease = ['k', 'get', 'lease', 'my-proxy-quic-proxy-waf-controller']
  const holder = (): string => lab.must([...lease, '-o', 'jsonpath={.spec.holderIdentity}'])
  const before = holder()
  const [pod = ''] = before.split('_')
  const service = ['k', 'get', 'service', 'my-proxy-quic-proxy-waf-service']
  const version = (): string => lab.must([...service, '-o', 'jsonpath={.metadata.resourceVersion}'])
  const seen = version()
  lab.must(['k', 'delete', 'pod', pod, '--wait=false'])
  await eventually(() => (['', before].includes(holder()) ? before : null), 40_000)
  stage.check('another controller leads', null)
  stage.check('it writes nothing that is so already', version() === seen ? null : version())
}

/** A pod that ends without a successor: its node tells balancers, and serves on. */
async function withdrawal(stage: Stage): Promise<void> {
  const { lab } = stage
  const health = (): string => {
    const curl = ['client', 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-m', '2']
    return lab.run([...curl, `http://${lab.node(1)}:${healthPort}/`]).out
  }
  const says = (code: string) => () => (health() === code ? null : `${code}: ${health()}`)
  await eventually(says('200'), 20_000)
  const here = ['--field-selector', `spec.nodeName=${lab.nodeName(1)}`, '--wait=false']
  lab.must(['k', 'delete', 'pod', '-l', 'app.kubernetes.io/component=proxy', ...here])
  await eventually(says('503'), 20_000)
  stage.check('healthCheckNodePort says that the pod ends', null)
  const page = stage.get('h3', `${lab.node(1)}:443`)
  stage.check('and it still serves', differs(page, { status: 200 }))
  await stage.rolledOut()
  await eventually(says('200'), 40_000)
  await stage.addressed(stage.nodes)
}

/** A node that is gone without a word, Kubernetes finding out, and its coming back. */
export async function nodeAddressLoss(stage: Stage): Promise<void> {
  const { lab } = stage
  const last = stage.nodes.length
  const others = stage.nodes.slice(0, -1)
  await stage.release('install', flags)
  await stage.addressed(stage.nodes)
  lab.must(['losenode', String(last)])
  for (const node of others) stage.healthy(node)
  await stage.addressed(others)
  stage.check('the address of a node that is not ready goes', null)
  await eventually(() => differs(stage.get('h3', `${lab.node(1)}:443`), { status: 200 }))
  for (const node of others) stage.serves(lab.node(node))
  lab.must(['node', String(last)])
  await stage.addressed(stage.nodes)
  stage.serves(lab.node(last))
  stage.check('the address of a node that comes back returns', null)
}
