// What stands where in the image: three layers, what changes least first.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { addon, Missing, pinnedNode, prebuiltAddon, root } from '../paths.mjs'
import { librariesOf } from './libraries.mjs'
import { productionPackages, sbomOf } from './sbom.mjs'

/** The user that the image runs as; 65532 is what others call nonroot, too. */
export const user = 65_532

const home = 'opt/quic-proxy-waf'
const shared = 'usr/share/quic-proxy-waf'
const state = 'var/lib/quic-proxy-waf'
const cache = 'var/cache/quic-proxy-waf'

/** How programs in the image find what they need. */
export const environment = [
  'PATH=/usr/local/bin:/usr/bin:/bin',
  `HOME=/${state}`,
  `STATE_DIRECTORY=/${state}`,
  `CACHE_DIRECTORY=/${cache}`,
  `NODE_COMPILE_CACHE=/${cache}/node`,
  // As the launcher of the checkout sets it, and for the same reason.
  'MALLOC_ARENA_MAX=2',
  // Not below /etc/ssl, where certificates of the proxy's own are mounted.
  `SSL_CERT_FILE=/${shared}/ca-certificates.pem`,
  `SSL_CERT_DIR=/${shared}/ca-certificates.d`,
]

// The launcher of the checkout is a shell script, and no shell is in the image. The flag: young
// objects get 8 MiB a thread instead of 16 (see there).
const launcher = `#!/usr/local/bin/node --max-semi-space-size=8
if (process.argv[1].endsWith('/edgelink-lite')) process.argv.splice(2, 0, 'edgelink-lite')
import('/${home}/dist/main.js')
`

// Seed 004 starts its container with `./gateway`.
const gateway = `#!/usr/local/bin/node --max-semi-space-size=8
process.argv.splice(2, 0, 'gateway')
import('/${home}/dist/main.js')
`

const passwd = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
edge:x:${user}:${user}:edge:/${state}:/sbin/nologin
`
const group = `root:x:0:\nnobody:x:65534:\nedge:x:${user}:\n`

/** The layers, and the SBOM that is also in the last of them. */
export function contents({ rulesFolder, rulesVersion }) {
  const library = existsSync(addon) ? addon : prebuiltAddon
  const libraries = librariesOf([pinnedNode, library])
  const packages = productionPackages()
  const sbom = sbomOf({
    version: packageVersion(),
    node: packageVersion(`node_modules/node-linux-${process.arch}`),
    rules: rulesVersion,
    packages,
    libraries,
  })
  const layers = [
    { name: 'system libraries', entries: withFolders([...system(), ...libraries.map(installed)]) },
    { name: 'node', entries: withFolders([program('usr/local/bin/node', pinnedNode), ...trust()]) },
    {
      name: 'quic-proxy-waf',
      entries: withFolders([
        { path: 'usr/local/bin/edge', type: 'file', mode: 0o755, text: launcher },
        { path: 'gateway', type: 'file', mode: 0o755, text: gateway },
        // Seed 000's program, as its operators call it in a pod.
        { path: 'usr/local/bin/edgelink-lite', type: 'link', mode: 0o777, target: 'edge' },
        ...edge(library),
        ...packages.flatMap(licenses),
        ...rules(rulesFolder),
        { path: `${shared}/sbom.cdx.json`, type: 'file', mode: 0o644, text: sbom },
      ]),
    },
  ]
  return { layers, sbom }
}

/** The version that a package.json names. */
export function packageVersion(folder = '.') {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).version
}

function system() {
  const own = (path) => ({ path, type: 'folder', mode: 0o750, owner: user })
  return [
    { path: 'etc/passwd', type: 'file', mode: 0o644, text: passwd },
    { path: 'etc/group', type: 'file', mode: 0o644, text: group },
    { path: 'etc/nsswitch.conf', type: 'file', mode: 0o644, text: 'hosts: files dns\n' },
    { path: 'tmp', type: 'folder', mode: 0o1777 },
    { path: `${shared}/ca-certificates.d`, type: 'folder', mode: 0o755 },
    own(state),
    own(cache),
  ]
}

const installed = ({ path, file }) => program(path, file)

function program(path, source) {
  return { path, type: 'file', mode: 0o755, source }
}

/** The roots that this version of Node brings along: pinned with it, and none of this machine. */
function trust() {
  const script = "console.log(require('node:tls').rootCertificates.join('\\n'))"
  const text = execFileSync(pinnedNode, ['-e', script], { encoding: 'utf8' })
  return [{ path: `${shared}/ca-certificates.pem`, type: 'file', mode: 0o644, text }]
}

// The bundle holds the sources and the packages; what it reads stands where the sources stood.
function edge(library) {
  const texts = ['proxy', 'waf'].flatMap((folder) =>
    filesBelow(join(root, folder), (name) => name.endsWith('.conf')),
  )
  const single = ['package.json', 'LICENSE'].map((name) => join(root, name))
  const files = [...filesBelow(join(root, 'dist'), () => true), ...texts, ...single]
  return [...files.map(atHome), program(`${home}/native/addon/edge.node`, library)]
}

/** The terms of what the bundle is made of. */
function licenses({ path }) {
  const folder = join(root, path)
  if (!existsSync(folder)) throw new Missing(`image: ${path} is missing; run: npm run setup`)
  return filesBelow(folder, (name) => /^(?:licen[cs]e|notice|copying)[^/]*$/i.test(name)).map(
    atHome,
  )
}

function atHome(source) {
  return { path: join(home, relative(root, source)), type: 'file', mode: 0o644, source }
}

function rules(folder) {
  const name = readdirSync(folder).find((entry) => entry.startsWith('crs-'))
  return [
    ...filesBelow(join(folder, name), () => true).map((source) => ({
      path: join(shared, 'rules', relative(folder, source)),
      type: 'file',
      mode: 0o644,
      source,
    })),
    { path: `${shared}/rules/current`, type: 'link', mode: 0o777, target: name },
  ]
}

function filesBelow(folder, isNeeded, top = folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return filesBelow(path, isNeeded, top)
    return entry.isFile() && isNeeded(relative(top, path)) ? [path] : []
  })
}

/** The entries in one order on every machine, each after the folders that it is in. */
function withFolders(entries) {
  const all = new Map(entries.map((entry) => [entry.path, entry]))
  for (const { path } of entries) {
    for (let up = dirname(path); up !== '.'; up = dirname(up)) {
      if (!all.has(up)) all.set(up, { path: up, type: 'folder', mode: 0o755 })
    }
  }
  return [...all.values()].toSorted((one, other) => (one.path < other.path ? -1 : 1))
}
