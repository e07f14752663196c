import { expect, test } from 'vitest'
import { withParts } from './audit-parts.ts'

const cases = [
  ['ABFHZ', '+E', 'ABEFHZ'],
  ['ABFHZ', '-BF', 'AHZ'],
  ['ABFHZ', '-AZ', 'ABFHZ'],
  ['ABFHZ', 'ahz', 'AHZ'],
  ['', 'ABIJDEFHZ', 'ABDEFHIJZ'],
] as const

for (const [parts, change, expected] of cases) {
  test(`${parts} with ${change} is ${expected}`, () => {
    expect(withParts(parts, change)).toBe(expected)
  })
}
