import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Entry } from './entry.ts'
import { type Identity, identityOf, signRecord } from './identity.ts'
import { NodeTable } from './node-table.ts'
import { entryOf } from './node.fixture.ts'
import { viewOf } from './view.ts'

let folder = ''
let own: Identity
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-table-'))
  own = await identityOf(folder)
})
afterEach(() => rmSync(folder, { recursive: true }))

function entrySigned(id: string, name: string): Entry {
  const unsigned = entryOf(id)
  const signed = signRecord(own, { ...JSON.parse(unsigned.record), name })
  return { ...unsigned, ...signed, identity: own.identity }
}

const view = (...nodes: Entry[]) => viewOf({ version: 1, hash: '', nodes })

test('a node that stayed is the same object, a changed one is new, in order', () => {
  const table = new NodeTable()
  const [first, second] = [entrySigned('1', 'first'), entrySigned('2', 'second')]
  const before = table.of(view(first, second))
  expect(before.map(({ name }) => name)).toEqual(['first', 'second'])
  const after = table.of(view(first, entrySigned('2', 'changed')))
  expect(after[0]).toBe(before[0])
  expect(after.map(({ name }) => name)).toEqual(['first', 'changed'])
  expect(table.of(view(second)).map(({ name }) => name)).toEqual(['second'])
})

test('a node whose new record it did not sign is no longer there', () => {
  const table = new NodeTable()
  const first = entrySigned('1', 'first')
  expect(table.of(view(first))).toHaveLength(1)
  const forged = { ...first, record: first.record.replace('first', 'other') }
  expect(table.of(view(forged))).toEqual([])
  expect(table.of(view(first))).toHaveLength(1)
})
