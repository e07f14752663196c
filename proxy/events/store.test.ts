import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { schema } from '../config/schema.ts'
import { ConfigError } from '../config/faults.ts'
import { EventDatabase } from './database.ts'
import { anything, stored } from './event.fixture.ts'
import { EventStore } from './store.ts'

let folder = ''
let file = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-events-'))
  file = join(folder, 'events.db')
})
afterEach(() => rmSync(folder, { recursive: true }))

const ids = (events: readonly string[]): string[] =>
  events.map((json) => (JSON.parse(json) as { 'request.id': string })['request.id'])
const numbered = (count: number) =>
  Array.from({ length: count }, (_, index) => stored({ requestId: `r${index}` }))

const filters = [
  [{}, ['a', 'b', 'c']],
  [{ rule: 920_350 }, ['b']],
  [{ path: '/a' }, ['a', 'c']],
  [{ path: '%' }, []],
  [{ sinceMs: 2_000 }, ['b', 'c']],
  [{ blocked: false }, ['c']],
] as const

for (const [filter, expected] of filters) {
  test(`in the file ${JSON.stringify(filter)} finds ${expected.join(', ') || 'nothing'}`, () => {
    const database = new EventDatabase(file)
    database.add([
      stored({ requestId: 'a', path: '/a' }),
      stored({ requestId: 'b', path: '/b', timeMs: 2_000, rules: [920_350, 942_100] }),
      stored({ requestId: 'c', path: '/a/x', timeMs: 3_000, blocked: false }),
    ])
    const { events } = database.list({ ...anything, ...filter })
    expect(ids(events).toReversed()).toEqual(expected)
    database.close()
  })
}

test('pages of the file follow each other', () => {
  const database = new EventDatabase(file)
  database.add(numbered(12))
  const first = database.list(anything)
  const second = database.list({ ...anything, before: first.next })
  const third = database.list({ ...anything, before: second.next })
  expect(ids([...first.events, ...second.events, ...third.events])).toHaveLength(12)
  expect([first.next !== null, third.next]).toEqual([true, null])
  database.close()
})

test('events are kept up to a number and an age, and their rules go with them', () => {
  const database = new EventDatabase(file)
  const dayMs = 86_400_000
  database.add([stored({ requestId: 'old', timeMs: 0 })])
  database.add(numbered(5).map((event) => ({ ...event, timeMs: 10 * dayMs })))
  database.retain({ countMax: 100, daysMax: 5 }, 11 * dayMs)
  expect(database.find('old')).toBe(null)
  database.retain({ countMax: 2, daysMax: 5 }, 11 * dayMs)
  expect(ids(database.list(anything).events)).toEqual(['r4', 'r3'])
  expect(ids(database.list({ ...anything, rule: 942_100 }).events)).toEqual(['r4', 'r3'])
  database.close()
  const raw = new DatabaseSync(file)
  expect(raw.prepare('SELECT count(*) AS n FROM event_rules').get()).toEqual({ n: 2 })
  raw.close()
})

test('two programs may have the file open, and a reader sees what was written', () => {
  const one = new EventDatabase(file)
  const other = new EventDatabase(file)
  one.add([stored({ requestId: 'one' })])
  other.add([stored({ requestId: 'other' })])
  const reader = new EventDatabase(file, { readOnly: true })
  expect(ids(reader.list(anything).events)).toEqual(['other', 'one'])
  for (const database of [one, other, reader]) database.close()
})

test('a file of another version is refused', () => {
  const raw = new DatabaseSync(file)
  raw.exec('PRAGMA user_version = 9')
  raw.close()
  expect(() => new EventDatabase(file)).toThrow('version 9')
})

const { waf } = schema.parse({})
const options = { log: { error: () => undefined }, nowMs: () => 1_000 }

test('the store answers from memory, and from the file after a restart', () => {
  const config = { ...waf.events, file }
  const first = new EventStore(config, options)
  first.add(numbered(3))
  expect(first.find('r1')).toContain('r1')
  expect(ids(first.list(anything).events)).toEqual(['r2', 'r1', 'r0'])
  first.close()
  const second = new EventStore(config, options)
  expect(second.find('r1')).toContain('r1')
  expect(second.numbers.count).toBe(0)
  second.close()
})

test('a file that cannot be opened is a fault of the configuration', () => {
  const config = { ...waf.events, file: join(folder, 'none/events.db') }
  expect(() => new EventStore(config, options)).toThrow(ConfigError)
})

test('when the file fails, memory goes on and the operator is told once', () => {
  const errors: unknown[] = []
  const log = { error: (...told: unknown[]) => void errors.push(told) }
  const store = new EventStore({ ...waf.events, file }, { ...options, log })
  const raw = new DatabaseSync(file)
  raw.exec('DROP TABLE events')
  raw.close()
  for (const event of numbered(3)) {
    store.add([event])
    expect(ids(store.list(anything).events)[0]).toBe(event.requestId)
  }
  expect(errors).toHaveLength(1)
  store.close()
})
