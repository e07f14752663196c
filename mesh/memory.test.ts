/** What an agent begins with when its folder is not as it left it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readMembership, readView, ViewFile, viewFile, viewToBegin } from './memory.ts'
import { emptyView } from './view.ts'

let folder = ''
let warned: string[] = []
const log = {
  info: () => undefined,
  warn: (_: object, text: string) => void warned.push(text),
  error: () => undefined,
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-memory-'))
  warned = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test.each(['', '{', '{"version":1}'])('a table that reads %j is one that is not there', (text) => {
  expect(viewToBegin(folder, log)).toEqual(emptyView)
  expect(warned).toEqual([])
  writeFileSync(join(folder, viewFile), text)
  expect(viewToBegin(folder, log)).toEqual(emptyView)
  expect(warned).toEqual(['the table of nodes cannot be read'])
  expect(() => readView(folder)).toThrow('it does not hold what the mesh wrote there')
})

test('a membership that nobody can read stops: nobody tells it again', () => {
  writeFileSync(join(folder, 'membership.json'), '{')
  expect(() => readMembership(folder)).toThrow('it does not hold what the mesh wrote there')
})

test('a table that cannot be written is told, and nothing ends', () => {
  const file = new ViewFile(folder, log)
  rmSync(folder, { recursive: true })
  file.keep(emptyView)
  file.close()
  expect(warned).toEqual(['the table of nodes is not written'])
})
