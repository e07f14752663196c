// `npm run image -- --out FILE`: the container image as an archive, without a builder or a
// registry. `--root DIR` writes its files into a folder instead: that is what the Dockerfile does.
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { imageArchive } from './image/archive.mjs'
import { labelsOf, startConfig } from './image/config.mjs'
import { contents } from './image/contents.mjs'
import { contentOf } from './image/tar.mjs'
import { main, Missing, pinnedNode, root } from './paths.mjs'
import { collect } from './run-command.mjs'
import { setup } from './setup.mjs'

const architectures = { x64: 'amd64', arm64: 'arm64' }
const nameDefault = 'lab.local/quic-proxy-waf:dev'
const usage =
  'usage: npm run image -- (--out FILE | --root DIR) [--name NAME:TAG] [--rules DIR]' +
  ' [--rules-version X.Y.Z]'

/** Rules as `edge rules install` puts them: the pinned release, or a copy (`--rules`). */
async function installRules(from, to) {
  const command = [join(root, 'proxy/main.ts'), 'rules', 'install', '--to', to]
  const { code, output } = await collect(pinnedNode, [
    ...command,
    ...(from === undefined ? [] : ['--from', from]),
  ])
  const version = /OWASP CRS (\S+) is installed/.exec(output)?.[1]
  if (code !== 0 || version === undefined) throw new Missing(output.trim())
  console.error(output.trim().split('\n').at(-1))
  return version
}

function writeArchive(file, { name, layers, rulesVersion }) {
  const architecture = architectures[process.arch] ?? process.arch
  mkdirSync(dirname(file), { recursive: true })
  const labels = labelsOf(rulesVersion)
  const archive = imageArchive({ name, architecture, layers, config: startConfig, labels })
  writeFileSync(file, archive)
  console.log(`${name}: ${Math.ceil(archive.length / 1e6)} MB in ${file}`)
}

function writeRoot(folder, layers) {
  for (const entry of layers.flatMap(({ entries }) => entries)) {
    const path = join(folder, entry.path)
    if (entry.type === 'link') {
      symlinkSync(entry.target, path)
      continue
    }
    if (entry.type === 'folder') mkdirSync(path, { recursive: true })
    else writeFileSync(path, contentOf(entry))
    chmodSync(path, entry.mode)
    if (process.getuid?.() === 0) chownSync(path, entry.owner ?? 0, entry.owner ?? 0)
  }
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      root: { type: 'string' },
      name: { type: 'string', default: nameDefault },
      rules: { type: 'string' },
      'rules-version': { type: 'string' },
    },
  })
  if ((values.out === undefined) === (values.root === undefined)) throw new Missing(usage)
  await setup()
  const scratch = mkdtempSync(join(tmpdir(), 'edge-image-'))
  try {
    const from = values.rules === undefined ? undefined : resolve(values.rules)
    const rulesVersion = await installRules(from, scratch)
    // Without a network, another release may be all that this machine has.
    const wanted = values['rules-version'] ?? rulesVersion
    if (wanted !== rulesVersion) {
      throw new Missing(`image: the rules are CRS ${rulesVersion}, not ${wanted}: name --rules DIR`)
    }
    const { layers, sbom } = contents({ rulesFolder: scratch, rulesVersion })
    if (values.root !== undefined) writeRoot(resolve(values.root), layers)
    else {
      const file = resolve(values.out)
      writeArchive(file, { name: values.name, layers, rulesVersion })
      writeFileSync(`${file.replace(/\.tar$/, '')}.sbom.cdx.json`, sbom)
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  return 0
})
