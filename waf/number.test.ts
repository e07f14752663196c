import { expect, test } from 'vitest'

import { toNumber } from './number.ts'

const cases = [
  ['5', 5],
  ['-12', -12],
  ['+3', 3],
  [' \t7 apples', 7],
  ['', 0],
  ['abc', 0],
  ['-', 0],
  ['0x10', 0],
  ['1.9', 1],
  ['9'.repeat(30), 999_999_999_999_999],
] as const

for (const [text, expected] of cases) {
  test(`"${text}" is ${expected}`, () => expect(toNumber(text)).toBe(expected))
}
