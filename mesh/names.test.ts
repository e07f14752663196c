import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MeshNames, writeNames } from './names.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-names-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('names follow the file, and faults say what to do', () => {
  const names = new MeshNames(folder)
  expect(() => names.addressesOf('a')).toThrow('no agent was there yet')
  writeNames(folder, { a: ['10.96.0.1', 'fd00::1'] })
  expect(names.addressesOf('a')).toEqual(['10.96.0.1', 'fd00::1'])
  expect(() => names.addressesOf('b')).toThrow('no node of the mesh has this name')
  expect(() => names.addressesOf('toString')).toThrow()
  writeNames(folder, { b: ['10.96.0.2'] })
  expect(names.addressesOf('b')).toEqual(['10.96.0.2'])
  expect(() => names.addressesOf('a')).toThrow()
})
