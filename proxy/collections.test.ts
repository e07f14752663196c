import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CollectionStore } from '../native/addon/index.d.ts'
import { openCollectionStore } from '../waf/scanner.ts'
import { Collections } from './collections.ts'
import { operationLog } from './log.ts'

const settings = {
  file: null,
  saveIntervalMs: 5_000,
  entriesMax: 3,
  memoryBytesMax: 100_000,
  valueBytesMax: 10,
  membersMax: 2,
}

/** Collections over a store of their own, and what they logged. */
function collectionsWith(file: string | null, nowMs: () => number) {
  const store = openCollectionStore('own')
  const { log } = operationLog('info')
  const lines: string[] = []
  const note = (_fields: unknown, text: string): void => void lines.push(text)
  const noted = Object.assign(Object.create(log), { info: note, warn: note, error: note })
  const collections = new Collections({
    store,
    settings: { ...settings, file },
    log: noted,
    now: nowMs,
  })
  return { store, collections, lines }
}

function set(store: CollectionStore, key: string, name: string, value: string): boolean {
  return store.set({ key, name, timeoutMs: 1_000, nowMs: 0, first: true }, value)
}

function value(collections: Collections, name: string, label?: string): number | undefined {
  const family = collections.samples().find((sample) => sample.name === name)
  const labels = (one: { labels: object }): string => Object.values(one.labels).join()
  return family?.values.find((one) => labels(one) === (label ?? ''))?.value
}

test('each limit holds and is counted, and a full store is told once', () => {
  let nowMs = 0
  const { store, collections, lines } = collectionsWith(null, () => nowMs)
  for (const key of ['a', 'b', 'c', 'd', 'e']) expect(set(store, key, 'x', 'y')).toBe(true)
  expect(set(store, 'e', 'x', 'y'.repeat(11))).toBe(false)
  expect(set(store, 'e', '2', 'y')).toBe(true)
  expect(set(store, 'e', '3', 'y')).toBe(false)
  collections.tick()
  collections.tick()
  expect(lines.filter((line) => line.includes('waf.collections.entriesMax'))).toHaveLength(1)
  expect(value(collections, 'edge_waf_collections')).toBe(3)
  expect(value(collections, 'edge_waf_collections_removed_total', 'full')).toBe(2)
  expect(value(collections, 'edge_waf_collections_refused_total', 'valueMax')).toBe(1)
  expect(value(collections, 'edge_waf_collections_refused_total', 'membersMax')).toBe(1)
  nowMs = 1_000
  collections.tick()
  expect(value(collections, 'edge_waf_collections')).toBe(0)
  expect(value(collections, 'edge_waf_collections_bytes')).toBe(0)
  expect(value(collections, 'edge_waf_collections_removed_total', 'expired')).toBe(3)
})

test('memoryMax holds', () => {
  const { store, collections } = collectionsWith(null, () => 0)
  collections.configure({ ...settings, entriesMax: 1_000, memoryBytesMax: 5_000 })
  for (let index = 0; index < 200; index += 1) set(store, `key ${index}`, 'x', 'y')
  expect(value(collections, 'edge_waf_collections_bytes')).toBeLessThanOrEqual(5_000)
  expect(value(collections, 'edge_waf_collections')).toBeGreaterThan(5)
})

test('the file is saved every saveInterval and at the end; a broken one stops nothing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'edge-collections-'))
  const file = join(folder, 'collections.sqlite')
  writeFileSync(file, 'no database at all')
  let nowMs = 0
  const first = collectionsWith(file, () => nowMs)
  expect(first.lines.join()).toContain('broken: put aside')
  set(first.store, 'a', 'x', '1')
  nowMs = 4_000
  first.collections.tick()
  expect(value(first.collections, 'edge_waf_collections_saves_total')).toBe(0)
  nowMs = 5_000
  first.collections.tick()
  expect(value(first.collections, 'edge_waf_collections_saves_total')).toBe(1)
  set(first.store, 'b', 'x', '2')
  first.collections.stop()
  const second = collectionsWith(file, () => 0)
  expect(second.store.read('b', 'x', 0)).toBe('2')
  second.collections.stop()
  rmSync(folder, { recursive: true })
})

test('a file that cannot be is reported, counted, and costs only the memory of it', () => {
  const { store, collections, lines } = collectionsWith('/no/such/folder/file', () => 0)
  expect(lines.join()).toContain('in memory only')
  expect(set(store, 'a', 'x', '1')).toBe(true)
  collections.stop()
  expect(value(collections, 'edge_waf_collections_save_failures_total')).toBe(1)
})
