/** What makes two programs the same for a question, and what does not. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { noSettings } from '../../waf/tuning/tuning.ts'
import { variantNames } from './variant.ts'

const folder = mkdtempSync(join(tmpdir(), 'edge-variant-'))
afterAll(() => rmSync(folder, { recursive: true }))

const tuning = { settings: noSettings, exclusions: [] }

/** A folder with rules and a data file; its options. */
function options(name: string, rule: string, words: string) {
  const own = join(folder, name)
  mkdirSync(own)
  writeFileSync(join(own, 'base.conf'), rule)
  writeFileSync(join(own, 'words.data'), words)
  const baseFile = join(own, 'base.conf')
  return { baseFile, crsDirectory: null, paranoia: null, setupFiles: [], tunings: [tuning] }
}

const first = options('a', 'SecRuleEngine On\n', 'one\n')

test('the same contents in another folder are the same rules', () => {
  expect(variantNames(options('b', 'SecRuleEngine On\n', 'one\n'))).toEqual(variantNames(first))
})

test.each([
  ['a rule', options('c', 'SecRuleEngine Off\n', 'one\n')],
  ['a data file', options('d', 'SecRuleEngine On\n', 'two\n')],
  ['the level', { ...first, paranoia: 2 }],
  ['an exclusion', { ...first, tunings: [{ ...tuning, exclusions: [{ rules: [] }] as never[] }] }],
])('another content of %s makes other rules', (_, changed) => {
  expect(variantNames(changed)).not.toEqual(variantNames(first))
})

test('each tuning has a name of its own', () => {
  const levels = { ...noSettings, paranoia: 3 }
  const names = variantNames({ ...first, tunings: [tuning, { ...tuning, settings: levels }] })
  expect(new Set(names).size).toBe(2)
  expect(names[0]).toBe(variantNames(first)[0])
})
