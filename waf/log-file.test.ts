import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, expect, test } from 'vitest'

import { LogFile } from './log-file.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-file-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

test('lines are in the file when write returns, behind what was there', () => {
  const path = join(folder, 'waf.log')
  const one = new LogFile(path)
  const other = new LogFile(path)
  one.write(['a', 'b'])
  other.write(['c'])
  one.write([])
  one.write(['d'])
  expect(readFileSync(path, 'utf8')).toBe('a\nb\nc\nd\n')
  one.close()
  other.close()
})

test('reopen follows a rotation', () => {
  const path = join(folder, 'waf.log')
  const file = new LogFile(path)
  file.write(['old'])
  renameSync(path, `${path}.1`)
  file.write(['still old'])
  file.reopen()
  file.write(['new'])
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('old\nstill old\n')
  expect(readFileSync(path, 'utf8')).toBe('new\n')
  file.close()
})

test('a write that fails is counted and not thrown', () => {
  const file = new LogFile(join(folder, 'waf.log'))
  file.close()
  expect(() => file.write(['lost'])).not.toThrow()
  expect(file.failures).toBe(1)
})

test('a path that cannot be opened is a fault at start, and only counted on reopen', () => {
  expect(() => new LogFile(join(folder, 'no', 'such'))).toThrow('ENOENT')
  const path = join(folder, 'sub.log')
  const file = new LogFile(path)
  rmSync(folder, { recursive: true })
  file.reopen()
  expect(file.failures).toBe(1)
  file.write(['kept on the old file'])
  expect(file.failures).toBe(1)
  file.close()
  folder = mkdtempSync(join(tmpdir(), 'log-file-'))
})
