/** The lab from TypeScript: what it is built of, and commands in it. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Helm, tool } from '../chart/tools.ts'
import { installPrograms } from '../harness/debian.ts'
import { root } from '../harness/edge.ts'

const version = 'v1.36.3'
const coredns = 'github.com/coredns/coredns@v1.15.0'
const commands = ['apiserver', 'controller-manager', 'scheduler'].map((name) => `kube-${name}`)
const programs = [...commands, 'kubelet', 'kube-proxy', 'kubectl']

/** Debian's part of a node. */
const packages: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  runc: 'runc',
  'etcd-server': 'etcd',
  iptables: 'iptables',
  nftables: 'nft',
  conntrack: 'conntrack',
  socat: 'socat',
  ipset: 'ipset',
  ebtables: 'ebtables',
  'containernetworking-plugins': '/usr/lib/cni/portmap',
}

/** Why the lab cannot run here; null when it can. Root installs what is missing. */
export function obstacle(): string | null {
  if (process.getuid?.() !== 0) return 'namespaces and containers need root'
  const missing = installPrograms(packages)
  return missing.length === 0 ? null : `Debian packages are missing: ${missing.join(' ')}`
}

/** The Helm that installs: 3, or 4 when EDGE_LAB_HELM says so. */
function labHelm(): Helm {
  const version = process.env['EDGE_LAB_HELM'] ?? '3'
  if (version !== '3' && version !== '4') throw new Error(`EDGE_LAB_HELM=${version}: write 3 or 4`)
  return version === '4' ? 'helm4' : 'helm'
}

/** The folder with everything that runs in the lab; builds what is missing (minutes, once). */
export function labPrograms(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(root, '.cache')
  const folder = process.env['EDGE_LAB_BIN'] ?? join(cache, `kubernetes-${version}`)
  mkdirSync(folder, { recursive: true })
  const go = (args: readonly string[], cwd: string, env = {}): void => {
    const all = { ...process.env, GOFLAGS: '-buildvcs=false', CGO_ENABLED: '0', ...env }
    execFileSync('go', args, { cwd, env: all, stdio: 'inherit' })
  }
  const missing = programs.filter((name) => !existsSync(join(folder, name)))
  if (missing.length > 0) {
    const base = 'k8s.io/component-base/version'
    const stamp = [`gitVersion=${version}`, 'gitMajor=1', 'gitMinor=36', 'gitTreeState=clean']
    const set = stamp.map((one) => `-X ${base}.${one}`)
    // client-go keeps the version a second time, and kubectl shows that one.
    const flags = ['-s', '-w', ...set, `-X k8s.io/client-go/pkg/version.gitVersion=${version}`]
    const names = missing.map((name) => `k8s.io/kubernetes/cmd/${name}`)
    const out = ['-trimpath', '-ldflags', flags.join(' '), '-o', `${folder}/`]
    go(['build', '-mod=mod', ...out, ...names], join(root, 'test/lab/kubernetes'))
  }
  if (!existsSync(join(folder, 'coredns'))) {
    go(['install', '-trimpath', '-ldflags=-s -w', coredns], folder, { GOBIN: folder })
  }
  if (!existsSync(join(folder, 'pause'))) {
    const source = join(root, 'test/lab/pause.c')
    execFileSync('gcc', ['-static', '-Os', '-o', join(folder, 'pause'), source])
  }
  const helm = labHelm()
  if (!existsSync(join(folder, helm))) copyFileSync(tool(helm), join(folder, helm))
  go(['build', '-o', join(folder, 'edge-clients'), '.'], join(root, 'test/clients/go'))
  return folder
}

/** What a command in the lab printed. */
export interface Output {
  readonly code: number | null
  readonly out: string
}

/** A running Kubernetes. */
export class Lab {
  readonly programs: string
  readonly folder = mkdtempSync(join(tmpdir(), 'edge-lab-'))
  readonly #env: NodeJS.ProcessEnv

  constructor(programs: string) {
    this.programs = programs
    mkdirSync(join(this.folder, 'images'))
    const own = {
      BIN: programs,
      HELM: labHelm(),
      RUN: join(this.folder, 'run'),
      IMAGES: join(this.folder, 'images'),
      PREFIX: process.env['EDGE_LAB_PREFIX'] ?? 'edgelab',
      NET: process.env['EDGE_LAB_NET'] ?? '10.77.0',
    }
    // A machine's own way out is none of the lab's.
    const { http_proxy: _, https_proxy: __, ...env } = process.env
    this.#env = { ...env, ...own }
  }

  /** The address of a node. */
  node(number: number): string {
    return `${this.#env['NET']}.1${number}`
  }

  /** Its name in Kubernetes. */
  nodeName(number: number): string {
    return `${this.#env['PREFIX']}-n${number}`
  }

  /** Where an archive has to be before `up`, to be in every node. */
  image(name: string): string {
    return join(this.folder, 'images', `${name}.tar`)
  }

  /** An image of one static program, for every node. */
  pack(name: string, program: string): void {
    const args = [join(root, 'test/lab/pack.mjs'), this.image(name.replaceAll(/\W/g, '-')), name]
    execFileSync(process.execPath, [...args, join(this.programs, program)])
  }

  /** Runs `lab.sh`, for two minutes at the most. */
  run(args: readonly string[], input = '', timeout = 120_000): Output {
    const ended = spawnSync(join(root, 'test/lab/lab.sh'), args, {
      cwd: root,
      env: this.#env,
      encoding: 'utf8',
      input,
      timeout,
      maxBuffer: 16 * 1024 * 1024,
    })
    return { code: ended.status, out: `${ended.stdout}${ended.stderr}` }
  }

  /** Like `run`; throws when the command fails. */
  must(args: readonly string[], input = '', timeout = 120_000): string {
    const { code, out } = this.run(args, input, timeout)
    if (code !== 0) throw new Error(`${args.join(' ')}: ${code}\n${out}`)
    return out
  }

  /** Starts a long command in the client's namespace; `finish` tells it to end. */
  client(args: readonly string[]): { finish(): Promise<string> } {
    const child = spawn(join(root, 'test/lab/lab.sh'), ['client', ...args], {
      cwd: root,
      env: this.#env,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    const ended = new Promise((resolve) => child.once('close', resolve))
    return {
      async finish() {
        child.stdin.end('\n')
        await ended
        return out
      },
    }
  }

  /** Ends everything that was started, and leaves nothing. */
  down(): void {
    this.run(['down'])
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Looks until it is so; throws what was seen last. */
export async function eventually(look: () => string | null, deadlineMs = 120_000): Promise<void> {
  const end = Date.now() + deadlineMs
  for (;;) {
    const fault = look()
    if (fault === null) return
    if (Date.now() > end) throw new Error(fault)
    // oxlint-disable-next-line no-await-in-loop -- looks one after the other are the purpose
    await sleep(500)
  }
}
