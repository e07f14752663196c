import { expect, test } from 'vitest'

import { AddonScanner, ResultBuffer } from './scanner.ts'
import type { ScanPort } from './scanner.ts'

interface HitText {
  readonly leaf: number
  readonly variable: number
  readonly name: string | null
  readonly value: string
  readonly captures: readonly string[]
}

/** The layout of the contract, written by the test itself. */
function pack(hits: readonly HitText[]): Uint8Array<ArrayBuffer> {
  const words: number[] = []
  let text = ''
  for (const { leaf, variable, name, value, captures } of hits) {
    words.push(leaf, variable, name === null ? 0xffff_ffff : name.length, value.length)
    words.push(captures.length, ...captures.map((one) => one.length))
    text += (name ?? '') + value + captures.join('')
  }
  const head = new Uint32Array([hits.length, text.length, ...words])
  const bytes = new Uint8Array(head.byteLength + text.length)
  bytes.set(new Uint8Array(head.buffer))
  bytes.set(Buffer.from(text, 'latin1'), head.byteLength)
  return bytes
}

const two: readonly HitText[] = [
  { leaf: 3, variable: 1, name: 'id', value: 'caf\u00e9', captures: ['af', ''] },
  { leaf: 9, variable: 0, name: null, value: '', captures: [] },
]

/** Answers every call with `packed`, as the addon does: only as far as it fits. */
function scannerOf(packed: Uint8Array | -1): { scanner: AddonScanner; calls: string[] } {
  const calls: string[] = []
  const answer = (name: string, out: Uint8Array): number => {
    calls.push(`${name} ${out.length}`)
    if (packed === -1) return -1
    if (packed.length <= out.length) out.set(packed)
    return packed.length
  }
  const port: ScanPort = {
    scan: (_handle, _plan, _phase, out) => answer('scan', out),
    evaluate: (...[, , , , out]) => answer('evaluate', out),
    variable: (_handle, _name, _selector, out) => answer('variable', out),
    result: (out) => answer('result', out),
    setBodyProcessor: (_handle, processor) => void calls.push(processor),
    forceBodyVariable: (_handle, on) => void calls.push(String(on)),
    bodyAccess: (_handle, on) => void calls.push(`access ${on}`),
  }
  const scanner = new AddonScanner(port, {
    matchText: (...[, , , , out]) => answer('matchText', out),
    variableNames: () => ['REQUEST_URI', 'ARGS'],
  })
  return { scanner, calls }
}

test('hits are decoded with names, Latin-1 values and captures', () => {
  const packed = pack(two)
  const buffer = new ResultBuffer(4_096)
  buffer.bytes.set(packed)
  expect(buffer.leaves()).toEqual([3, 9])
  expect(buffer.hits(packed.length, ['REQUEST_URI', 'ARGS'])).toEqual([
    { leaf: 3, variable: 'ARGS', name: 'id', value: 'caf\u00e9', captures: ['af', ''] },
    { leaf: 9, variable: 'REQUEST_URI', name: null, value: '', captures: [] },
  ])
})

test('no bytes are no hits', () => {
  const { scanner } = scannerOf(new Uint8Array(0))
  expect(scanner.scan(1, 2, 1)).toMatchObject({ leaves: [] })
  expect(scanner.matchText({ plan: 1, leaf: 1, argument: '' }, 'x')).toEqual([])
})

test('minus one is over budget, for a macro it is nothing', () => {
  const { scanner } = scannerOf(-1)
  expect(scanner.scan(1, 2, 1)).toBe('over-budget')
  expect(scanner.evaluate(1, { plan: 1, leaf: 1, argument: 'x' })).toBe('over-budget')
  expect(scanner.variable(1, 'ARGS', '')).toEqual([])
})

test('a result that does not fit is fetched once more and the buffer stays grown', () => {
  const value = 'v'.repeat(100_000)
  const packed = pack([{ leaf: 1, variable: 1, name: null, value, captures: [] }])
  const { scanner, calls } = scannerOf(packed)
  for (const found of [scanner.scan(1, 2, 1), scanner.scan(1, 2, 1)]) {
    expect(found === 'over-budget' ? [] : found.leaves).toEqual([1])
    expect(found === 'over-budget' ? [] : found.hits()).toMatchObject([{ leaf: 1, value }])
  }
  expect(calls).toEqual(['scan 65536', 'result 131072', 'scan 131072'])
})

test('a very large result does not pin its buffer', () => {
  const value = 'v'.repeat(2_000_000)
  const { scanner, calls } = scannerOf(
    pack([{ leaf: 1, variable: 1, name: null, value, captures: [] }]),
  )
  expect(scanner.matchText({ plan: 1, leaf: 1, argument: '' }, 'x')[0]?.value).toBe(value)
  scanner.variable(1, 'ARGS', '')
  expect(calls).toEqual([
    'matchText 65536',
    'matchText 2097152',
    'variable 65536',
    'result 2097152',
  ])
})
