/** What is done with the chart in the lab, and what clients outside must see. */
import { type Lab, eventually } from './lab.ts'

/** What a client got. */
interface Answer {
  readonly status?: number
  readonly body?: string
  readonly error?: string
}

type Protocol = 'h1' | 'h1s' | 'h2' | 'h3'

const attack = "/?id=1'%20OR%20'1'='1"
const release = 'my-proxy'
const workload = `${release}-quic-proxy-waf-proxy`
const seed = ['--values', './helm/values-daemonset.yaml']
const backend = ['--set', 'proxy.backend.host=my-backend-service']

/** A lab with counts of what held. */
export class Stage {
  passed = 0
  failed = 0
  readonly lab: Lab
  readonly nodes: readonly number[]

  constructor(lab: Lab, nodes: number) {
    this.lab = lab
    this.nodes = Array.from({ length: nodes }, (_, index) => index + 1)
  }

  /** Counts one thing that must hold. */
  check(name: string, fault: string | null): void {
    if (fault === null) this.passed += 1
    else this.failed += 1
    console.log(fault === null ? `ok   ${name}` : `FAIL ${name}: ${fault}`)
  }

  /** A stage that ends early is a failure, with what the pods say, and leaves no release behind. */
  async guarded(name: string, run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      this.check(name, error instanceof Error ? error.message : String(error))
      const selector = ['-l', 'app.kubernetes.io/name=quic-proxy-waf', '--tail=20']
      console.log(this.lab.run(['k', 'get', 'pods', '-A', '-o', 'wide']).out)
      console.log(this.lab.run(['k', 'logs', ...selector]).out)
    }
    this.lab.run(['helm', 'uninstall', release, '--ignore-not-found', '--wait'])
    // Helm is done before the pods are: they still hold the ports.
    await eventually(() => (this.pods() === '' ? null : `pods of ${name} do not end`))
  }

  /** `helm install` or `upgrade`, and the wait for all pods. */
  async release(verb: 'install' | 'upgrade', flags: readonly string[]): Promise<void> {
    this.lab.must(['helm', verb, release, './helm', ...flags])
    await this.rolledOut(flags.some((flag) => flag.includes('kind=deployment')))
  }

  async rolledOut(isDeployment = false, namespace = 'default'): Promise<void> {
    const kind = isDeployment ? 'deployment' : 'daemonset'
    const wait = ['rollout', 'status', `${kind}/${workload}`, '--timeout=300s']
    this.lab.must(['k', '-n', namespace, ...wait], '', 320_000)
  }

  get(protocol: Protocol, address: string, path = '/'): Answer {
    const flags = ['-protocol', protocol, '-address', address, '-path', path]
    const { out } = this.lab.run(['client', `${this.lab.programs}/edge-clients`, 'get', ...flags])
    try {
      return JSON.parse(out) as Answer
    } catch {
      return { error: out }
    }
  }

  /** Health in clear, the backend and a refused attack on every protocol. */
  serves(address: string, ports = { http: 80, https: 443 }): void {
    const clear = `${address}:${ports.http}`
    const secure = `${address}:${ports.https}`
    const health = this.get('h1', clear, '/_gwhealthz')
    this.check(`${clear} health`, differs(health, { status: 200, body: 'ok' }))
    for (const protocol of ['h1s', 'h2', 'h3'] as const) {
      const page = this.get(protocol, secure)
      const hello = { status: 200, body: 'backend says hello' }
      this.check(`${secure} ${protocol}: the backend`, differs(page, hello))
      const blocked = this.get(protocol, secure, attack)
      this.check(`${secure} ${protocol}: an attack`, differs(blocked, { status: 403 }))
    }
  }

  /** `helm test`. */
  probes(): void {
    const { code, out } = this.lab.run(['helm', 'test', release, '--timeout', '120s'], '', 150_000)
    const logs = code === 0 ? '' : this.lab.run(['k', 'logs', 'my-proxy-quic-proxy-waf-test']).out
    this.check('helm test', code === 0 ? null : `${out}${logs}`)
  }

  /** Names, restarts and starts of the proxy's pods: the same text, the same processes. */
  pods(): string {
    const path =
      '{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount};{end}'
    const selector = ['-l', 'app.kubernetes.io/instance=my-proxy,app.kubernetes.io/component=proxy']
    return this.lab.must(['k', 'get', 'pods', ...selector, '-o', `jsonpath=${path}`])
  }
}

function differs({ status, body, error }: Answer, wanted: Answer): string | null {
  const isStatus = status === wanted.status
  const isBody = wanted.body === undefined || body?.trim() === wanted.body
  return isStatus && isBody ? null : `${status} ${body?.slice(0, 200)} ${error ?? ''}`
}

/** The seed's command, then certificates and settings that come while it runs, then its end. */
async function daemonset(stage: Stage): Promise<void> {
  const { lab } = stage
  await stage.release('install', [...seed, ...backend])
  for (const node of stage.nodes) stage.serves(lab.node(node))
  stage.probes()
  const before = stage.pods()
  makeSecret(stage)
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
  lab.must(['k', 'delete', 'secret', 'tls-certificate'])
  // The pods still drain when helm is done.
  const kinds = 'all,configmaps,networkpolicies,serviceaccounts,pdb'
  await eventually(() => {
    const left = lab.must(['k', 'get', kinds, '-o', 'name'])
    return left.includes(release) ? left : null
  })
  stage.check('helm uninstall leaves nothing', null)
}

function makeSecret({ lab }: Stage): void {
  const [key, cert] = [`${lab.folder}/tls.key`, `${lab.folder}/tls.crt`]
  const own = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const subject = ['-subj', '/CN=lab.example', '-addext', 'subjectAltName=DNS:lab.example']
  lab.must(['client', 'openssl', 'req', ...own, ...subject, '-keyout', key, '-out', cert])
  lab.must(['k', 'create', 'secret', 'tls', 'tls-certificate', `--cert=${cert}`, `--key=${key}`])
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

interface Count {
  readonly started: number
  readonly succeeded: number
  readonly failed: Readonly<Record<string, number>>
}

/** The seed's file, updated under load that is counted from outside: sockets are handed over. */
async function update(stage: Stage): Promise<void> {
  const { lab } = stage
  const flags = [...seed, ...backend]
  // The load has PUTs, which the CRS takes for an attack: it inspects, and lets them pass.
  flags.push('--set', 'drain.delaySeconds=5,proxy.waf.mode=detect')
  await stage.release('install', flags)
  const node = lab.node(1)
  const load = ['loss', '-https', `${node}:443`, '-http', `${node}:80`, '-protocols', 'h1s,h2,h3']
  const clients = lab.client([`${lab.programs}/edge-clients`, ...load, '-pause', '5ms'])
  await stage.release('upgrade', [...flags, '--set', 'config.waf.workers=1'])
  const counts: Readonly<Record<string, Count>> = JSON.parse(await clients.finish())
  for (const [protocol, { started, succeeded, failed }] of Object.entries(counts)) {
    console.log(
      `update under load, ${protocol}: ${succeeded} of ${started} ${JSON.stringify(failed)}`,
    )
    const isWhole = started > 100 && succeeded === started
    stage.check(`${protocol} loses nothing`, isWhole ? null : `${succeeded} of ${started}`)
  }
  // A pod that has no successor says so to balancers before it closes.
  const here = ['--field-selector', `spec.nodeName=${lab.nodeName(1)}`, '--wait=false']
  lab.must(['k', 'delete', 'pod', '-l', 'app.kubernetes.io/component=proxy', ...here])
  const health = (): Answer => stage.get('h1', `${node}:80`, '/_gwhealthz')
  await eventually(() => differs(health(), { status: 503, body: 'draining' }), 20_000)
  stage.check('a pod that is deleted withdraws', null)
}

/** A node that is gone from one moment to the next: the others serve on. It is the last stage. */
async function nodeLoss(stage: Stage): Promise<void> {
  const { lab } = stage
  await stage.release('install', [...seed, ...backend])
  lab.must(['rmnode', String(stage.nodes.length)])
  for (const node of stage.nodes.slice(0, -1)) {
    const health = stage.get('h1', `${lab.node(node)}:80`, '/_gwhealthz')
    stage.check(`node ${node} is healthy`, differs(health, { status: 200, body: 'ok' }))
  }
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
  update,
  nodeLoss,
}
