/**
 * The rules of the tree that a machine can check: imports point down, sizes, one door to the addon.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './harness/edge.ts'

const folders = ['proxy', 'waf', 'kubernetes', 'mesh', 'native', 'scripts', 'test', 'bench']
const files = folders
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
      join(folder, name),
    ),
  )
  .filter((name) => /\.(ts|rs|mjs)$/.test(name) && !name.includes('/target/'))
const sources = new Map(files.map((name) => [name, readFileSync(join(root, name), 'utf8')]))

/** Relative imports of one file, as paths from the root. */
function importsOf(name: string): string[] {
  const text = sources.get(name) ?? ''
  const found = text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)
  return [...found].map((match) => relative(root, resolve(root, name, '..', match[1] ?? '')))
}

test('there is something to check', () => {
  expect(files.length).toBeGreaterThan(60)
})

test.each([
  ['waf', ['waf/', 'native/load.ts', 'native/addon-file.ts']],
  ['kubernetes', ['kubernetes/', 'waf/reason-of.ts']],
  ['mesh', ['mesh/', 'native/load.ts', 'waf/reason-of.ts', 'kubernetes/']],
  [
    'proxy',
    ['proxy/', 'waf/', 'kubernetes/', 'mesh/', 'native/load.ts', 'native/addon/index.d.ts'],
  ],
])('%s/ imports only from below', (folder, allowed) => {
  const wrong = files
    .filter((name) => name.startsWith(`${folder}/`) && name.endsWith('.ts'))
    .flatMap((name) => importsOf(name).map((target) => `${name} → ${target}`))
    .filter((edge) => !allowed.some((prefix) => edge.split(' → ')[1]?.startsWith(prefix)))
  expect(wrong.filter((edge) => !edge.includes('native/addon/index.d.ts'))).toEqual([])
})

test('only mesh/kubernetes/ knows Kubernetes', () => {
  const knowing = files.filter(
    (name) =>
      name.startsWith('mesh/') && importsOf(name).some((path) => path.startsWith('kubernetes/')),
  )
  expect(knowing.filter((name) => !name.startsWith('mesh/kubernetes/'))).toEqual([])
})

test('one file per library loads the addon', () => {
  const loaders = files.filter(
    (name) =>
      /^(proxy|waf|mesh)\//.test(name) &&
      importsOf(name).includes('native/load.ts') &&
      !name.endsWith('.test.ts'),
  )
  expect(loaders.toSorted()).toEqual([
    'mesh/carrier.ts',
    'mesh/coordinator/front.ts',
    'mesh/device.ts',
    'mesh/signatures.ts',
    'proxy/wire.ts',
    'waf/scanner.ts',
  ])
})

test('no file is longer than 500 lines', () => {
  const long = files.filter((name) => (sources.get(name)?.split('\n').length ?? 0) > 501)
  expect(long).toEqual([])
})

test('ARCHITECTURE.md has a line for every folder', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const missing = folders.filter((folder) => !text.includes(`\`${folder}/`))
  expect(missing).toEqual([])
})

test('README.md stays under 120 lines and ARCHITECTURE.md under 250', () => {
  const lines = (name: string) => readFileSync(join(root, name), 'utf8').split('\n').length
  expect([lines('README.md') <= 121, lines('ARCHITECTURE.md') <= 251]).toEqual([true, true])
})
