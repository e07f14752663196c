/** Files of state: whole or not at all, and nothing of an attempt stays. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeLasting, writeOnce, writeSecret } from './folder.ts'

let folder = ''
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'mesh-folder-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const read = (name: string): string => readFileSync(join(folder, name), 'utf8')

test.each([writeSecret, writeLasting])('%s replaces, for its owner alone', (write) => {
  write(folder, 'file', 'before')
  write(folder, 'file', 'after')
  expect([read('file'), readdirSync(folder)]).toEqual(['after', ['file']])
  expect(statSync(join(folder, 'file')).mode & 0o777).toBe(0o600)
})

test('what stands there first stays', () => {
  expect(writeOnce(folder, 'file', 'first')).toBe('first')
  expect(writeOnce(folder, 'file', 'second')).toBe('first')
  expect([read('file'), readdirSync(folder)]).toEqual(['first', ['file']])
})

test.each([writeSecret, writeLasting, writeOnce])('%s that fails leaves nothing', (write) => {
  mkdirSync(join(folder, 'file'))
  expect(() => write(folder, 'file', 'text')).toThrow()
  expect(readdirSync(folder)).toEqual(['file'])
})

test('what cannot be written is no fault where it stands there already', () => {
  const noRoom = () => symlinkSync('/dev/full', join(folder, `file.${process.pid}`))
  writeSecret(folder, 'file', 'before')
  noRoom()
  writeSecret(folder, 'file', 'before')
  noRoom()
  expect(() => writeSecret(folder, 'file', 'after')).toThrow(
    expect.objectContaining({ where: join(folder, 'file'), mend: 'make room on its disk' }),
  )
  expect([read('file'), readdirSync(folder)]).toEqual(['before', ['file']])
})
