/** The documents agree with the code. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { errors } from '../proxy/errors.ts'
import { root } from './harness/edge.ts'

/** ARCHITECTURE's table of errors, as the code has it. */
function errorTable(): string {
  const rows = Object.entries(errors).map(
    ([code, kind]) => `| ${code} | ${kind.side} | ${kind.status} | ${kind.retry} |`,
  )
  return ['| code | side | status | retry |', '|---|---|---|---|', ...rows].join('\n')
}

test("ARCHITECTURE.md's error table is the code's", () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const table = /<!-- errors -->\n([^]*?)\n<!-- \/errors -->/.exec(text)?.[1]
  expect(table).toBe(errorTable())
})
