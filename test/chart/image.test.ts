/** The image: what `npm run image` puts where, and archives that are the same each time. */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
// @ts-expect-error -- plain JavaScript, for machines without TypeScript
import { labelsOf, startConfig } from '../../scripts/image/config.mjs'
import { root } from '../harness/edge.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-image-test-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const megabyte = 1_000_000

/** A CRS that is quick to read: what matters here is where it is found. */
function smallRules(): string {
  const rules = join(folder, 'crs')
  mkdirSync(join(rules, 'rules'), { recursive: true })
  writeFileSync(join(rules, 'crs-setup.conf.example'), '# setup\n')
  const rule = `SecAction "id:901001,phase:1,pass,nolog,ver:'OWASP_CRS/4.28.0'"\n`
  writeFileSync(join(rules, 'rules/REQUEST-901-INITIALIZATION.conf'), rule)
  return rules
}

test(
  'the files of the image suffice to run the program, and stay small',
  { timeout: 300_000 },
  () => {
    const image = join(folder, 'image')
    const script = join(root, 'scripts/image.mjs')
    const args = [script, '--root', image, '--rules', smallRules()]
    execFileSync(process.execPath, args, { stdio: 'pipe' })
    const size = execFileSync('du', ['-sb', image], { encoding: 'utf8' })
    expect(Number.parseInt(size, 10)).toBeLessThan(200 * megabyte)

    const node = join(image, 'usr/local/bin/node')
    const main = join(image, 'opt/quic-proxy-waf/dist/main.js')
    const rules = join(image, 'usr/share/quic-proxy-waf/rules/current')
    const env = { STATE_DIRECTORY: join(folder, 'state'), CACHE_DIRECTORY: join(folder, 'cache') }
    for (const command of [
      ['--version'],
      ['validate', '--rules', rules],
      ['waf', 'serve', '--x'],
    ]) {
      const ended = spawnSync(node, [main, ...command], { cwd: folder, env, encoding: 'utf8' })
      expect(ended.stderr).not.toContain('ERR_MODULE_NOT_FOUND')
      expect(ended.stderr).not.toContain('MODULE_NOT_FOUND')
      expect(ended.status).toBe(command[0] === 'waf' ? 2 : 0)
    }

    const launcher = readFileSync(join(image, 'usr/local/bin/edge'), 'utf8')
    expect(readlinkSync(join(image, 'usr/local/bin/edgelink-lite'))).toBe('edge')
    expect(launcher).toMatch(/^#!\/usr\/local\/bin\/node /)
    expect(statSync(join(image, 'usr/local/bin/edge')).mode & 0o111).toBe(0o111)
    expect(readFileSync(join(image, 'etc/passwd'), 'utf8')).toContain(':65532:65532:')
    const sbom = readFileSync(join(image, 'usr/share/quic-proxy-waf/sbom.cdx.json'), 'utf8')
    const { components }: { components: readonly { name: string }[] } = JSON.parse(sbom)
    const names = components.map(({ name }) => name)
    expect(names).toEqual(
      expect.arrayContaining(['node', 'coreruleset', 'zod', 'quiche', 'fastify']),
    )
  },
)

test('rules of another version than the one that is wanted make no image', () => {
  const script = join(root, 'scripts/image.mjs')
  const own = ['--rules', smallRules(), '--rules-version', '9.9.9']
  const args = [script, '--root', join(folder, 'other'), ...own]
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  expect(stderr).toContain('image: the rules are CRS 4.28.0, not 9.9.9: name --rules DIR')
  expect(status).toBe(1)
}, 300_000)

test('the Dockerfile says of the image what the script says', () => {
  const file = readFileSync(join(root, 'Dockerfile'), 'utf8').replaceAll(/\\\n\s*/g, '')
  const pinned = [...file.matchAll(/^ARG RULES_VERSION=(.*)$/gm)].map(([, version]) => version)
  const text = file.replaceAll('$RULES_VERSION', pinned[0] ?? '')
  const lines = text.slice(text.indexOf('FROM scratch')).split('\n')
  const after = (word: string): string[] =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1))
  const install = readFileSync(join(root, 'proxy/rules-install.ts'), 'utf8')
  const rules = /version: '([\d.]+)'/.exec(install)?.[1] ?? ''
  const pairs = [
    ...after('LABEL')
      .join(' ')
      .matchAll(/([\w.-]+)="([^"]*)"/g),
  ]
  const given = pairs.map(([, name = '', value = '']) => [name, value])
  expect(Object.fromEntries(given)).toEqual(labelsOf(rules))
  expect(after('ENV').join(' ').split(' ')).toEqual(startConfig.Env)
  expect(after('USER')).toEqual([startConfig.User])
  expect(after('WORKDIR')).toEqual([startConfig.WorkingDir])
  expect(after('EXPOSE').join(' ').split(' ')).toEqual(Object.keys(startConfig.ExposedPorts))
  expect(after('STOPSIGNAL')).toEqual([startConfig.StopSignal])
  expect(after('ENTRYPOINT')).toEqual([JSON.stringify(startConfig.Entrypoint)])
  expect(after('CMD')).toEqual([JSON.stringify(startConfig.Cmd)])
  expect(after('COPY')).toEqual(['--from=build /image/ /'])
})

test('an archive is the same each time, and its parts are what their digests say', () => {
  const program = join(folder, 'program')
  writeFileSync(program, 'x'.repeat(1_000))
  const [one, two] = ['one.tar', 'two.tar'].map((name) => join(folder, name))
  for (const out of [one, two]) {
    const args = [join(root, 'test/lab/pack.mjs'), out ?? '', 'lab.local/x:1', program]
    execFileSync(process.execPath, args)
  }
  expect(readFileSync(one ?? '').equals(readFileSync(two ?? ''))).toBe(true)
  const out = join(folder, 'unpacked')
  mkdirSync(out)
  execFileSync('tar', ['-xf', one ?? '', '-C', out])
  const read = (name: string): Buffer => readFileSync(join(out, name))
  const index: Index = JSON.parse(read('index.json').toString())
  const [entry] = index.manifests
  expect(entry?.annotations['io.containerd.image.name']).toBe('lab.local/x:1')
  const manifest: Manifest = JSON.parse(read(blobOf(entry?.digest ?? '')).toString())
  for (const { digest, size } of [manifest.config, ...manifest.layers]) {
    const bytes = read(blobOf(digest))
    expect(bytes).toHaveLength(size)
    expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(digest)
  }
  const layer = join(out, blobOf(manifest.layers[0]?.digest ?? ''))
  expect(execFileSync('tar', ['-tf', layer], { encoding: 'utf8' })).toBe('program\n')
})

interface Part {
  readonly digest: string
  readonly size: number
}

interface Index {
  readonly manifests: readonly (Part & { readonly annotations: Record<string, string> })[]
}

interface Manifest {
  readonly config: Part
  readonly layers: readonly Part[]
}

function blobOf(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}
