// What the image is made of, as a CycloneDX document.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { native, root } from '../paths.mjs'

/** The document; the same for the same contents, so without serial number and time. */
export function sbomOf({ version, node, rules, packages, libraries }) {
  const components = [
    component('application', 'node', { version: node, purl: `pkg:generic/node@${node}` }),
    component('library', 'coreruleset', {
      version: rules,
      purl: `pkg:github/coreruleset/coreruleset@v${rules}`,
    }),
    ...packages.map(npmComponent),
    ...debianComponents(libraries),
    ...crates(),
  ]
  return `${JSON.stringify(
    {
      bomFormat: 'CycloneDX',
      specVersion: '1.5',
      version: 1,
      metadata: { component: component('application', 'quic-proxy-waf', { version }) },
      components: components.toSorted((one, other) => (one['bom-ref'] < other['bom-ref'] ? -1 : 1)),
    },
    null,
    1,
  )}\n`
}

function component(type, name, more) {
  return { type, 'bom-ref': more.purl ?? `${name}@${more.version}`, name, ...more }
}

function npmComponent({ name, version, integrity, license }) {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`
  const hash = integrity?.startsWith('sha512-')
    ? [{ alg: 'SHA-512', content: Buffer.from(integrity.slice(7), 'base64').toString('hex') }]
    : []
  const licenses = license === undefined ? [] : [{ expression: license }]
  return component('library', name, { version, purl, hashes: hash, licenses })
}

function debianComponents(libraries) {
  const versions = new Map(libraries.map((library) => [library.package, library.version]))
  return [...versions].map(([name, version]) =>
    component('library', name, { version, purl: `pkg:deb/debian/${name}@${version}` }),
  )
}

/** Everything that the addon's lockfile names, tests' crates included. */
function crates() {
  const text = readFileSync(join(native, 'Cargo.lock'), 'utf8')
  return [...text.matchAll(/^name = "([^"]+)"\nversion = "([^"]+)"\nsource = /gm)].map(
    ([, name, version]) =>
      component('library', name, { version, purl: `pkg:cargo/${name}@${version}` }),
  )
}

/** Packages of the lockfile that the program needs to run, with their folders. */
export function productionPackages() {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional }]) => path !== '' && !dev && !optional)
    .map(([path, { version, integrity, license }]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
      return { path, name, version, integrity, license }
    })
}
