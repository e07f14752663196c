/** One stage of the lab: what is done with the chart, and what clients outside must see. */
import { type Lab, eventually } from './lab.ts'

/** What a client got. */
export interface Answer {
  readonly status?: number
  readonly body?: string
  readonly error?: string
}

type Protocol = 'h1' | 'h1s' | 'h2' | 'h3'

/** A request that the rules refuse. */
export const attack = "/?id=1'%20OR%20'1'='1"
/** The name of the release. */
export const release = 'my-proxy'
const workload = `${release}-quic-proxy-waf-proxy`
/** The seed's own values. */
export const seed = ['--values', './helm/values-daemonset.yaml']
/** Where requests go. */
export const backend = ['--set', 'proxy.backend.host=my-backend-service']

/** A lab with counts of what held. */
export class Stage {
  passed = 0
  failed = 0
  readonly lab: Lab
  readonly nodes: readonly number[]
  /** How long the API server is away when it is. */
  readonly outageMs: number

  constructor(lab: Lab, nodes: number, outageMs: number) {
    this.lab = lab
    this.outageMs = outageMs
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
    this.noCertificate()
    // Helm is done before the pods are: they still hold the ports.
    await eventually(() => (this.pods() === '' ? null : `pods of ${name} do not end`))
  }

  /** The Secret that the chart names, with a certificate for `lab.example`. */
  certificate(): void {
    const { lab } = this
    const [key, cert] = [`${lab.folder}/tls.key`, `${lab.folder}/tls.crt`]
    const own = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const subject = ['-subj', '/CN=lab.example', '-addext', 'subjectAltName=DNS:lab.example']
    lab.must(['client', 'openssl', 'req', ...own, ...subject, '-keyout', key, '-out', cert])
    const files = [`--cert=${cert}`, `--key=${key}`]
    lab.must(['k', 'create', 'secret', 'tls', 'tls-certificate', ...files])
  }

  /** The Secret goes again. */
  noCertificate(): void {
    this.lab.must(['k', 'delete', 'secret', 'tls-certificate', '--ignore-not-found'])
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

  /** Waits until the Service shows the addresses of these nodes and no other. */
  async addressed(nodes: readonly number[]): Promise<void> {
    const wanted = nodes.map((node) => this.lab.node(node)).join(' ')
    const path = 'jsonpath={.status.loadBalancer.ingress[*].ip}'
    const service = ['k', 'get', 'service', 'my-proxy-quic-proxy-waf-service', '-o', path]
    await eventually(() => {
      const { out } = this.lab.run(service)
      return out === wanted ? null : `addresses: ${out}, not ${wanted}`
    })
    // kube-proxy has them a moment later.
    for (const node of nodes) {
      const health = (): Answer => this.get('h1', `${this.lab.node(node)}:80`, '/_gwhealthz')
      // oxlint-disable-next-line no-await-in-loop -- one look at a time
      await eventually(() => differs(health(), { status: 200, body: 'ok' }), 40_000)
    }
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

  /** The health path of a node. */
  healthy(node: number): void {
    const answer = this.get('h1', `${this.lab.node(node)}:80`, '/_gwhealthz')
    this.check(`node ${node} is healthy`, differs(answer, { status: 200, body: 'ok' }))
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

/** Null when an answer is as wanted. */
export function differs({ status, body, error }: Answer, wanted: Answer): string | null {
  const isStatus = status === wanted.status
  const isBody = wanted.body === undefined || body?.trim() === wanted.body
  return isStatus && isBody ? null : `${status} ${body?.slice(0, 200)} ${error ?? ''}`
}
