import fc from 'fast-check'
import { expect, test } from 'vitest'
import { entryOf } from '../node.fixture.ts'
import type { Entry, NodeRecord } from '../entry.ts'
import { meshLimits } from '../limits.ts'
import { ChangeLog } from './change-log.ts'
import { Leaders } from './leaders.ts'

const { awayAfterMs, awayGraceMs, leaderRestMs } = meshLimits
/** Everybody had time to come back. */
const lateMs = awayGraceMs + awayAfterMs

class Table {
  readonly all = new ChangeLog()
  readonly connected = new Set<string>()
  readonly #entries = new Map<string, Entry>()
  readonly #leaders = new Leaders({
    registry: this,
    isConnected: (id) => this.connected.has(id),
    nowMs: 0,
  })
  version = 0
  nowMs = 0

  put(id: string, record: Partial<NodeRecord> = {}, more: Partial<Entry> = {}): void {
    const { since = this.version + 1, isLeader, isAway } = this.#entries.get(id) ?? {}
    const fresh = { ...entryOf(id, { forwards: true, ...record }), location: 'x' }
    const entry = { ...fresh, isLeader, isAway, ...more, since }
    this.#set(id, entry)
    this.connected.add(id)
  }

  leave(id: string): void {
    this.#leaders.left(id)
  }

  reconnect(id: string): void {
    this.connected.add(id)
    this.#leaders.arrived(id)
  }

  remove(id: string): void {
    this.#entries.delete(id)
    this.connected.delete(id)
    this.all.put(id, (this.version += 1))
  }

  isLeaf(id: string): boolean {
    return id.startsWith('leaf')
  }

  entry(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  mark(id: string, marks: Partial<Entry>): boolean {
    const before = this.#entries.get(id)
    if (before === undefined) throw new Error(`marks ${id}, which is not there`)
    this.#set(id, { ...before, ...marks })
    return true
  }

  /** `a b(away)`: the leaders, and who is away, after this much time. */
  after(ms: number, location = 'x'): string {
    this.nowMs += ms
    while (this.#leaders.look(this.nowMs)) {
      if (this.version > 10_000) throw new Error('it does not come to rest')
    }
    const entries = [...this.#entries.values()].filter((entry) => entry.location === location)
    const told = entries.filter(({ isLeader, isAway }) => isLeader === true || isAway === true)
    return told
      .map(({ id, isLeader, isAway }) => {
        return (isLeader === true ? id : `(${id})`) + (isAway === true ? '(away)' : '')
      })
      .join(' ')
  }

  #set(id: string, entry: Entry): void {
    this.#entries.set(id, entry)
    this.all.put(id, (this.version += 1))
  }
}

function tableOf(...ids: readonly string[]): Table {
  const table = new Table()
  for (const id of ids) table.put(id)
  return table
}

const endpoint = '192.0.2.1:1'

test('the two that joined first lead; others can reach leaders where there are such', () => {
  const table = tableOf('a', 'b', 'c')
  expect(table.after(0)).toBe('a b')
  table.put('d', { endpoint })
  expect(table.after(0)).toBe('a b(away) d')
  expect(table.after(leaderRestMs)).toBe('a d')
})

test('a node without a location, or one that does not forward, leads nobody', () => {
  const table = new Table()
  table.put('a', { forwards: false })
  table.put('b', {}, { location: undefined })
  expect(table.after(0)).toBe('')
  table.put('c')
  expect(table.after(0)).toBe('c')
  table.put('c', { forwards: false })
  expect(table.after(0)).toBe('c(away)')
  expect(table.after(leaderRestMs)).toBe('')
})

test('a node whose token forbids it leads nobody, whatever it says', () => {
  const table = new Table()
  table.put('a', { endpoint }, { canLead: false })
  table.put('b')
  expect(table.after(0)).toBe('b')
})

test('a leaf leads nobody', () => {
  expect(tableOf('leaf-a', 'b').after(0)).toBe('b')
})

test('one that is gone is away, a third takes its place, and the first one waits', () => {
  const table = tableOf('a', 'b', 'c')
  table.after(lateMs)
  table.connected.delete('a')
  expect(table.after(0)).toBe('a b')
  expect(table.after(awayAfterMs - 1)).toBe('a b')
  expect(table.after(1)).toBe('a(away) b c')
  table.connected.add('a')
  expect(table.after(0)).toBe('a(away) b c')
  expect(table.after(leaderRestMs)).toBe('b c')
  table.connected.delete('b')
  table.after(0)
  expect(table.after(awayAfterMs)).toBe('a b(away) c')
})

test('one that says that it ends is away at once, until it is back', () => {
  const table = tableOf('a', 'b', 'c')
  table.after(lateMs)
  table.leave('a')
  expect(table.after(0)).toBe('a(away) b c')
  table.connected.delete('a')
  expect(table.after(awayAfterMs)).toBe('a(away) b c')
  table.reconnect('a')
  expect(table.after(0)).toBe('a(away) b c')
  expect(table.after(leaderRestMs)).toBe('b c')
})

test('two that end and come back between two looks lead on', () => {
  const table = tableOf('a', 'b')
  table.after(lateMs)
  table.leave('a')
  expect(table.after(0)).toBe('a(away) b')
  table.reconnect('a')
  expect(table.after(0)).toBe('a b')
})

test('a coordinator that starts again waits for all to come back', () => {
  const table = tableOf('a', 'b', 'c')
  expect(table.after(0)).toBe('a b')
  table.connected.clear()
  expect(table.after(awayGraceMs - 1)).toBe('a b')
  table.connected.add('c')
  expect(table.after(1)).toBe('a b')
  expect(table.after(awayAfterMs)).toBe('a(away) b(away) c')
})

test('where nobody of a location is seen, its leaders stay as they are', () => {
  const table = tableOf('a', 'b', 'c')
  table.after(lateMs)
  table.connected.clear()
  table.after(0)
  expect(table.after(awayAfterMs * 10)).toBe('a b')
})

test('who is removed leads no more', () => {
  const table = tableOf('a', 'b', 'c')
  table.after(0)
  table.remove('a')
  expect(table.after(0)).toBe('b c')
})

test('of those that offer the same range, who is gone is away', () => {
  const table = new Table()
  const advertise = ['10.1.0.0/16']
  table.put('a', { advertise }, { location: 'y' })
  table.put('b', { advertise, forwards: false }, { location: 'y' })
  table.put('c', { advertise: ['10.1.2.0/24'], forwards: false }, { location: 'y' })
  expect(table.after(lateMs, 'y')).toBe('a')
  table.connected.delete('b')
  table.connected.delete('c')
  table.after(0)
  expect(table.after(awayAfterMs, 'y')).toBe('a (b)(away)')
  table.connected.add('b')
  expect(table.after(0, 'y')).toBe('a')
  table.put('b', { advertise: [], forwards: false }, { location: 'y', isAway: true })
  expect(table.after(0, 'y')).toBe('a')
})

test('a peer that is no agent is never away', () => {
  const table = new Table()
  const advertise = ['10.1.0.0/16']
  table.put('a', { advertise }, { location: undefined })
  table.put('b', { advertise, forwards: undefined }, { location: undefined })
  table.connected.delete('b')
  table.after(lateMs)
  table.after(awayAfterMs)
  expect(table.entry('b')?.isAway).toBeUndefined()
})

const step = fc.record({
  id: fc.constantFrom('a', 'b', 'c', 'd'),
  act: fc.constantFrom('put', 'reached', 'still', 'remove', 'go', 'come', 'wait'),
  ms: fc.constantFrom(0, 500, awayAfterMs, leaderRestMs, lateMs),
})

test('whatever happens, it comes to rest with as many leaders as can be', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const table = new Table()
      for (const { id, act, ms } of steps) {
        if (act === 'put') table.put(id)
        else if (act === 'reached') table.put(id, { endpoint })
        else if (act === 'still') table.put(id, { forwards: false })
        else if (act === 'remove') table.remove(id)
        else if (act === 'go') table.connected.delete(id)
        else if (act === 'come' && table.entry(id) !== undefined) table.connected.add(id)
        table.after(ms)
      }
      for (const ms of [lateMs, awayAfterMs, leaderRestMs, 0]) table.after(ms)
      const there = ['a', 'b', 'c', 'd'].flatMap((id) => table.entry(id) ?? [])
      const seen = there.filter(({ id }) => table.connected.has(id))
      const able = seen.filter(({ record }) => record.includes('"forwards":true'))
      const leading = seen.filter(({ isLeader, isAway }) => isLeader === true && isAway !== true)
      expect(leading.length).toBe(Math.min(able.length, meshLimits.leadersPerLocation))
      for (const node of leading) expect(able).toContain(node)
      if (seen.length > 0) {
        const gone = there.filter(({ id }) => !table.connected.has(id))
        for (const { isLeader, isAway } of gone)
          expect(isLeader === true && isAway !== true).toBe(false)
      }
    }),
    { numRuns: 300 },
  )
})
