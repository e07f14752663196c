/** Programs that judge the chart, built by Go into .cache/bin once, each of one version. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../harness/edge.ts'

const folder = join(root, '.cache/bin')

const sources = {
  helm: 'helm.sh/helm/v3/cmd/helm@v3.22.0',
  helm4: 'helm.sh/helm/v4/cmd/helm@v4.3.1',
  kubeconform: 'github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0',
  'kube-score': 'github.com/zegl/kube-score/cmd/kube-score@v1.20.0',
} as const

/** The two Helms that the chart is for. */
export type Helm = 'helm' | 'helm4'

/** The version of Kubernetes whose schemas objects are held against. */
export const kubernetesVersion = '1.36.3'

/** The program; installs it when it is missing. */
export function tool(name: keyof typeof sources): string {
  const program = join(folder, name)
  const stamp = join(folder, `${name}.version`)
  const isCurrent = existsSync(stamp) && readFileSync(stamp, 'utf8') === sources[name]
  if (existsSync(program) && isCurrent) return program
  mkdirSync(folder, { recursive: true })
  const own = join(folder, `${name}.${process.pid}`)
  mkdirSync(own)
  // Outside of any module: nothing of ours decides which versions it is built from.
  const args = ['install', '-trimpath', '-ldflags=-s -w', sources[name]]
  execFileSync('go', args, {
    cwd: own,
    env: { ...process.env, GOBIN: own, GOFLAGS: '', CGO_ENABLED: '0' },
    stdio: 'inherit',
  })
  // Called as its folder in the module is: both Helms are `helm` there.
  const built = sources[name].split('@')[0]?.split('/').at(-1) ?? name
  renameSync(join(own, built), program)
  writeFileSync(stamp, sources[name])
  return program
}

/** Where the sources of a Go module are; fetches them when they are not there yet. */
export function moduleFolder(module: string): string {
  mkdirSync(folder, { recursive: true })
  const answer = execFileSync('go', ['mod', 'download', '-json', module], {
    // Outside of any module, as above.
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, GOFLAGS: '' },
  })
  const { Dir: directory }: { readonly Dir: string } = JSON.parse(answer)
  return directory
}

/** What `helm` printed. */
export interface HelmResult {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs helm in the project's folder. */
export function helm(args: readonly string[], input = '', version: Helm = 'helm'): HelmResult {
  const ended = spawnSync(tool(version), args, {
    cwd: root,
    encoding: 'utf8',
    input,
    maxBuffer: 64 * 1024 * 1024,
  })
  return { code: ended.status, out: ended.stdout, err: ended.stderr }
}

/** A release's name and its chart. */
export type Release = readonly [name: string, chart: string]
const proxyRelease: Release = ['my-proxy', './helm']

/** The objects of a release, in one text. */
export function render(
  args: readonly string[],
  values = '',
  version: Helm = 'helm',
  release = proxyRelease,
): HelmResult {
  // Built by `go install`, helm takes itself for the client of an older Kubernetes.
  const given = ['template', ...release, '--kube-version', kubernetesVersion]
  return helm([...given, '--skip-tests', ...args, '--values', '-'], values, version)
}
