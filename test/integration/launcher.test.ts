/** The launcher: the bundle, and the sources as soon as they say something newer. */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { root } from '../harness/edge.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-launcher-'))
  for (const name of ['proxy', 'waf', 'kubernetes', 'native']) mkdirSync(join(folder, name))
  cpSync(join(root, 'edge'), join(folder, 'edge'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  write('proxy/main.ts', "console.log('sources')")
  for (const name of ['waf/waf.ts', 'native/load.ts', 'package-lock.json']) write(name, '')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
const launched = (): string =>
  execFileSync(join(folder, 'edge'), {
    encoding: 'utf8',
    env: { ...process.env, XDG_CACHE_HOME: folder, CACHE_DIRECTORY: folder },
  })

function bundled(): void {
  mkdirSync(join(folder, 'dist'))
  write('dist/main.js', "console.log('bundle')")
}

test('without a bundle the sources run', () => expect(launched()).toBe('sources\n'))

test('the bundle runs', () => {
  bundled()
  expect(launched()).toBe('bundle\n')
})

for (const name of ['waf/waf.ts', 'package-lock.json', 'kubernetes'])
  test(`the sources run when ${name} is newer`, () => {
    bundled()
    const soon = Date.now() / 1_000 + 5
    utimesSync(join(folder, name), soon, soon)
    expect(launched()).toBe('sources\n')
  })
