import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../test/harness/wait.ts'
import { FileWatch } from './watch.ts'

let folder = ''
let watch: FileWatch | null = null
let changes = 0
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-watch-'))
  changes = 0
})
afterEach(() => {
  watch?.close()
  rmSync(folder, { recursive: true })
})

function watching(files: readonly string[], pollMs = 60_000): FileWatch {
  watch = new FileWatch({ onChange: () => (changes += 1), settleMs: 20, pollMs })
  watch.set(files)
  return watch
}

const change = (): Promise<void> => until('a change', () => changes > 0, 5_000)

test('a file written in place, replaced, removed or made is a change', async () => {
  const file = join(folder, 'edge.yaml')
  const steps = [
    () => writeFileSync(file, 'one'),
    () => writeFileSync(file, 'three'),
    () => {
      writeFileSync(`${file}.new`, 'three')
      renameSync(`${file}.new`, file)
    },
    () => unlinkSync(file),
  ]
  watching([file])
  for (const step of steps) {
    changes = 0
    step()
    // oxlint-disable-next-line no-await-in-loop -- one step after the other
    await change()
  }
})

test('a mounted Secret changes by a link that is swapped', async () => {
  for (const [name, text] of [
    ['..1', 'old'],
    ['..2', 'new'],
  ] as const) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'tls.crt'), text)
  }
  symlinkSync('..1', join(folder, '..data'))
  symlinkSync('..data/tls.crt', join(folder, 'tls.crt'))
  watching([join(folder, 'tls.crt')])
  symlinkSync('..2', join(folder, '..tmp'))
  renameSync(join(folder, '..tmp'), join(folder, '..data'))
  await change()
})

test('what no watch sees is found by the slow look', async () => {
  const file = join(folder, 'later/edge.yaml')
  watching([file], 50)
  mkdirSync(join(folder, 'later'))
  writeFileSync(file, 'x')
  await change()
})

test('what changed before the files were read is no change, what came after is one', async () => {
  const [file, other] = [join(folder, 'a'), join(folder, 'b')]
  const watched = watching([file, other])
  writeFileSync(file, 'x')
  watched.mark()
  writeFileSync(other, 'x')
  watched.set([file, other])
  await change()
  expect(changes).toBe(1)
})

test('other files of the folder do not count', async () => {
  const file = join(folder, 'a')
  watching([file])
  writeFileSync(join(folder, 'log'), 'x')
  await new Promise((resolve) => {
    setTimeout(resolve, 200)
  })
  expect(changes).toBe(0)
})
