import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { CollectionStore } from '../../native/addon/index.d.ts'
import { openCollectionStore } from '../scanner.ts'
import { CollectionFile } from './collection-file.ts'

const hourMs = 3_600_000
let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-collections-'))
  path = join(folder, 'collections.sqlite')
})

afterEach(() => rmSync(folder, { recursive: true }))

function count(store: CollectionStore, key: string, nowMs: number): void {
  store.add({ key, name: 'n', timeoutMs: hourMs, nowMs, first: true }, 1)
}

/** What a program that starts now would find. */
function reopened(nowMs: number): CollectionStore {
  const store = openCollectionStore('own')
  CollectionFile.open(path, store, nowMs).file.close()
  return store
}

test('what was saved is there after a start, and what ended meanwhile is not', () => {
  const store = openCollectionStore('own')
  const { file, loaded, broken } = CollectionFile.open(path, store, 0)
  expect([loaded, broken]).toEqual([0, null])
  count(store, 'ip\nold', 0)
  count(store, 'ip\nnew\0ü', hourMs / 2)
  expect(file.save()).toBe(2)
  expect(file.save()).toBe(0)
  const next = reopened(hourMs)
  expect(next.read('ip\nnew\0ü', 'n', hourMs)).toBe('1')
  expect(next.stats().entries).toBe(1)
  file.close()
})

test('a collection that is gone leaves the file', () => {
  const store = openCollectionStore('own')
  const { file } = CollectionFile.open(path, store, 0)
  count(store, 'a', 0)
  file.save()
  store.sweep(hourMs, 10)
  expect(file.save()).toBe(1)
  file.close()
  expect(reopened(0).stats().entries).toBe(0)
})

test('without a save, as after a crash, the file is as the last one left it', () => {
  const store = openCollectionStore('own')
  const { file } = CollectionFile.open(path, store, 0)
  count(store, 'a', 0)
  file.save()
  count(store, 'a', 1)
  // The first program has not closed it: its journal is still beside the file.
  expect(reopened(2).read('a', 'n', 2)).toBe('1')
  file.close()
})

test('the newer state of two programs stays', () => {
  const old = openCollectionStore('own')
  const first = CollectionFile.open(path, old, 0)
  count(old, 'a', 0)
  first.file.save()
  const successor = openCollectionStore('own')
  const second = CollectionFile.open(path, successor, 1)
  expect(second.loaded).toBe(1)
  count(successor, 'a', 20)
  second.file.save()
  count(old, 'a', 10)
  count(old, 'b', 10)
  first.file.save()
  first.file.close()
  second.file.close()
  const next = reopened(30)
  expect([next.facts('a', 30)?.updatedMs, next.read('b', 'n', 30)]).toEqual([20, '1'])
})

test('what ends for a program stays when its successor has gone on with it', () => {
  const old = openCollectionStore('own')
  const first = CollectionFile.open(path, old, 0)
  count(old, 'a', 0)
  count(old, 'b', 0)
  first.file.save()
  const successor = openCollectionStore('own')
  const second = CollectionFile.open(path, successor, 1)
  count(successor, 'a', 20)
  second.file.save()
  second.file.close()
  old.sweep(hourMs, 10)
  first.file.save()
  first.file.close()
  const next = reopened(30)
  expect([next.read('a', 'n', 30), next.read('b', 'n', 30)]).toEqual(['2', null])
})

const wrongFiles: readonly (readonly [name: string, make: (path: string) => void])[] = [
  ['no database', (file) => writeFileSync(file, 'x'.repeat(5_000))],
  [
    'a database with broken pages',
    (file) => {
      const store = openCollectionStore('own')
      const opened = CollectionFile.open(file, store, 0).file
      for (let index = 0; index < 500; index += 1) count(store, `key ${index}`, 0)
      opened.save()
      opened.close()
      const size = statSync(file).size
      writeFileSync(file, Buffer.alloc(size - 4096, 0xff), { flag: 'r+' })
    },
  ],
]

for (const [name, make] of wrongFiles) {
  test(`${name} is put aside, and a new file begun`, () => {
    make(path)
    const store = openCollectionStore('own')
    const { file, loaded, broken } = CollectionFile.open(path, store, 77)
    expect(loaded).toBe(0)
    expect(broken?.path).toBe(`${path}.broken-77`)
    expect(readdirSync(folder)).toContain('collections.sqlite.broken-77')
    count(store, 'a', 80)
    expect(file.save()).toBe(1)
    file.close()
    expect(reopened(81).read('a', 'n', 81)).toBe('1')
  })
}

test('a place where no file can be is an error, and nothing is put aside', () => {
  const store = openCollectionStore('own')
  expect(() => CollectionFile.open(join(folder, 'no/such/file'), store, 0)).toThrow()
  expect(readdirSync(folder)).toEqual([])
})
