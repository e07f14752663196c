import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { compile } from '../compile/compile.ts'
import { loadRuleset } from './load.ts'

const root = new URL('../../', import.meta.url)
const baseFile = fileURLToPath(new URL('waf/base.conf', root))
const crsDirectory = process.env['EDGE_CRS_DIR'] ?? fileURLToPath(new URL('../shared/crs', root))
const hasCrs = existsSync(join(crsDirectory, 'rules'))
if (!hasCrs) console.warn(`NO CRS at ${crsDirectory}: its tests are SKIPPED; set EDGE_CRS_DIR`)

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'edge-'))
  mkdirSync(join(folder, 'rules'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

test('the order is base, setup, paranoia, users setup, rules, users rules', () => {
  const folder = folderWith({
    'base.conf': 'SecMarker base',
    'crs-setup.conf': 'SecMarker setup',
    'crs-setup.conf.example': 'SecMarker example',
    'user.conf': 'SecMarker user',
    'after.conf': 'SecMarker after',
    'rules/b.conf': 'SecMarker b',
    'rules/a.conf': 'SecMarker a',
    'rules/c.conf.example': 'SecMarker c',
  })
  const { items } = loadRuleset({
    baseFile: join(folder, 'base.conf'),
    crsDirectory: folder,
    paranoia: 3,
    setupFiles: [join(folder, 'user.conf')],
    ruleFiles: [join(folder, 'after.conf')],
  })
  const names = items.map((item) => (item.kind === 'marker' ? item.name : item.id))
  expect(names).toEqual(['base', 'setup', 990_090, 'user', 'a', 'b', 'after'])
  expect(items[2]).toMatchObject({
    phase: 1,
    log: false,
    links: [
      {
        actions: [
          { name: 'setvar', argument: 'tx.blocking_paranoia_level=3' },
          { name: 'setvar', argument: 'tx.detection_paranoia_level=3' },
          { name: 'setvar', argument: 'tx.paranoia_level=3' },
        ],
      },
    ],
  })
})

test('a directory without CRS and other faults are told together', () => {
  const setupFiles = ['/nowhere/setup.conf']
  const options = { baseFile, crsDirectory: '/nowhere', paranoia: null, setupFiles }
  expect(() => loadRuleset(options)).toThrow(
    /neither crs-setup[^]*rules:1:1: cannot be read[^]*setup\.conf:1:1: cannot be/,
  )
})

test('base.conf alone is a ruleset', () => {
  const { items, settings, notices } = loadRuleset({
    baseFile,
    crsDirectory: null,
    paranoia: null,
    setupFiles: [],
  })
  expect(items.map((item) => item.kind === 'rule' && item.id)).toEqual([
    990_001, 990_002, 990_012, 990_014, 990_013, 990_010, 990_011,
  ])
  expect(settings).toMatchObject({ ruleEngine: 'on', requestBodyAccess: true })
  expect(notices).toEqual([])
})

test.skipIf(!hasCrs)('the whole CRS loads and compiles without a fault', () => {
  const ruleset = loadRuleset({ baseFile, crsDirectory, paranoia: null, setupFiles: [] })
  const crs = ruleset.items.filter((item) => item.kind === 'rule' && item.id < 990_000)
  const rules = crs.filter((item) => item.kind === 'rule' && item.id !== 900_990)
  const links = rules.flatMap((item) => (item.kind === 'rule' ? item.links : []))
  expect(ruleset.notices).toEqual([])
  expect(rules.length).toBe(629)
  expect(links.filter((link) => link.targets.length > 0).length).toBe(695)
  expect(ruleset.items.filter((item) => item.kind === 'marker').length).toBe(30)
  expect(ruleset.settings.componentSignatures).toEqual(['OWASP_CRS/4.28.0'])
  const program = compile(ruleset, () => 7)
  expect(program.plan).toBe(7)
  expect(program.scans).toEqual([false, true, true, true, true, expect.any(Boolean)])
  const counts = program.phases.map(
    (items) => items.filter((one) => typeof one !== 'string').length,
  )
  // waf.md §1 counts CRS alone; 901's setup rule and the seven of base.conf come on top.
  expect(counts).toEqual([0, 172 + 5, 292 + 3, 43, 109, 13])
})
