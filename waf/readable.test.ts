import { expect, test } from 'vitest'
import { readable } from './readable.ts'

const cases = [
  ['plain "text"\n', 'plain "text"\n'],
  ['\u00c3\u00a9', '\u00e9'],
  ['\u00f0\u009f\u0098\u0080', '\u{1f600}'],
  ['\u00ff\u00fe', '\\xff\\xfe'],
  ['\u00c0\u00af', '\\xc0\\xaf'],
  ['\u00ed\u00a0\u0080', '\\xed\\xa0\\x80'],
  ['\u00c3', '\\xc3'],
  ['\u20ac', '\u20ac'],
  ['\ud800', '\\ud800'],
] as const

for (const [bytes, shown] of cases) {
  test(`${JSON.stringify(bytes)} reads ${JSON.stringify(shown)}`, () => {
    expect(readable(bytes, 100)).toBe(shown)
    expect(readable(bytes, 100).isWellFormed()).toBe(true)
  })
}

test('a long text is cut', () => {
  expect(readable('abcdef', 3)).toBe('abc')
})
