import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { IdleHeap } from './memory.ts'
import { releaseCode } from './wire.ts'

const mebi = 1024 * 1024

test('a heap is collected once the program is quiet, and again when it has grown', () => {
  const heap = new IdleHeap()
  const at = (held: number, allocated: number): boolean =>
    heap.isWorthCollecting({ heldBytes: held * mebi, allocatedBytes: allocated * mebi })
  expect(at(50, 400)).toBe(false) // it has just started
  expect(at(50, 402)).toBe(true)
  heap.collected({ heldBytes: 30 * mebi, allocatedBytes: 402 * mebi })
  expect(at(33, 405)).toBe(false)
  expect(at(40, 500)).toBe(false) // a change
  expect(at(40, 503)).toBe(true)
})

test('a heap is left alone while there is work', () => {
  const heap = new IdleHeap()
  for (let allocated = 10; allocated < 200; allocated += 10) {
    const size = { heldBytes: allocated * mebi, allocatedBytes: allocated * mebi }
    expect(heap.isWorthCollecting(size)).toBe(false)
  }
})

test('code that was used to start is given back, and runs on', () => {
  const codeKilobytes = (): number =>
    Number(/RssFile:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1])
  const before = codeKilobytes()
  releaseCode()
  expect(codeKilobytes()).toBeLessThan(before * 0.75)
  expect(JSON.parse('{"runs":"on"}')).toEqual({ runs: 'on' })
})
