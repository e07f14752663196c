import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { rules } from './cli/rules.ts'
import { installRules } from './rules-install.ts'
import { crsVersion, installedRules, setupFilesFor } from './rules.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rules-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function fakeCrs(version: string): string {
  const crs = join(folder, `source-${version}`)
  mkdirSync(join(crs, 'rules'), { recursive: true })
  writeFileSync(join(crs, 'crs-setup.conf.example'), '# setup\n')
  const rule = `SecAction "id:901001,phase:1,pass,ver:'OWASP_CRS/${version}'"\n`
  writeFileSync(join(crs, 'rules/REQUEST-901-INITIALIZATION.conf'), rule)
  writeFileSync(join(crs, 'rules/words.data'), 'word\n')
  writeFileSync(join(crs, 'rules/notes.txt'), 'not needed\n')
  return crs
}

function terminal() {
  const lines: string[] = []
  const add = (line: string): number => lines.push(line)
  return { lines, terminal: { env: { STATE_DIRECTORY: folder }, print: add, error: add } }
}

test('a local copy is installed with what the WAF reads, and becomes the current one', async () => {
  const to = join(folder, 'rules')
  for (const version of ['3.3.4', '4.28.0']) {
    const installed = await installRules({ from: fakeCrs(version), to, log: () => {} })
    expect(installed).toEqual({ folder: join(to, `crs-${version}`), version })
    expect(readlinkSync(join(to, 'current'))).toBe(`crs-${version}`)
    expect(readdirSync(join(installed.folder, 'rules')).toSorted()).toEqual([
      'REQUEST-901-INITIALIZATION.conf',
      'words.data',
    ])
  }
  expect(readdirSync(to).toSorted()).toEqual(['crs-3.3.4', 'crs-4.28.0', 'current'])
  expect(installedRules({ STATE_DIRECTORY: folder })).toBe(join(to, 'crs-4.28.0'))
})

test('rules that came along serve until others are installed', async () => {
  const shipped = join(folder, 'shipped')
  const env = { STATE_DIRECTORY: folder }
  await installRules({ from: fakeCrs('4.28.0'), to: shipped, log: () => {} })
  expect(installedRules(env, shipped)).toBe(join(shipped, 'crs-4.28.0'))
  await installRules({ from: fakeCrs('3.3.4'), to: join(folder, 'rules'), log: () => {} })
  expect(installedRules(env, shipped)).toBe(join(folder, 'rules/crs-3.3.4'))
})

test('a folder that is no CRS is refused and changes nothing', async () => {
  const to = join(folder, 'rules')
  const from = join(folder, 'empty')
  mkdirSync(from)
  await expect(installRules({ from, to, log: () => {} })).rejects.toThrow('is no CRS folder')
  expect(installedRules({ STATE_DIRECTORY: folder }, join(folder, 'none'))).toBeNull()
})

test('edge rules tells what is installed, with exit code 3 when nothing is', async () => {
  const { lines, terminal: at } = terminal()
  expect(await rules([], at)).toBe(3)
  expect(await rules(['install', '--from', fakeCrs('4.28.0')], at)).toBe(0)
  expect(await rules([], at)).toBe(0)
  expect(await rules(['path'], at)).toBe(0)
  const crs = join(folder, 'rules/crs-4.28.0')
  expect(lines).toEqual([
    'no rules are installed; run: ./edge rules install',
    `rules: OWASP CRS 4.28.0 is installed in ${crs}`,
    `OWASP CRS 4.28.0, 1 files: ${crs}`,
    crs,
  ])
})

test('edge rules with a wrong word is a usage error', async () => {
  await expect(rules(['instal'], terminal().terminal)).rejects.toThrow('no command "instal"')
  await expect(rules(['install', '--form', 'x'], terminal().terminal)).rejects.toThrow('--form')
})

test('only CRS 3 needs the setup file that allows HTTP/3', () => {
  expect(setupFilesFor('3.3.4').map((file) => file.split('/').at(-1))).toEqual(['crs-3.conf'])
  expect(setupFilesFor('4.28.0')).toEqual([])
  expect(crsVersion('/nowhere')).toBeNull()
})
