/** The documents agree with the code. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { errors } from '../proxy/errors.ts'
import { unwrap } from '../proxy/config/schema-walk.ts'
import { schema } from '../proxy/config/schema.ts'
import { root } from './harness/edge.ts'

/** ARCHITECTURE's table of errors, as the code has it. */
function errorTable(): string {
  const rows = Object.entries(errors).map(
    ([code, kind]) => `| ${code} | ${kind.side} | ${kind.status} | ${kind.retry} |`,
  )
  return ['| code | side | status | retry |', '|---|---|---|---|', ...rows].join('\n')
}

/** Name and default of every limit, as the schema has them. */
function limitRows(): string[] {
  const { core } = unwrap(schema.shape.limits)
  if (!(core instanceof z.ZodObject)) throw new Error('limits are no object')
  return Object.entries(core.shape).map(
    ([name, limit]) => `| ${name} | ${String(unwrap(limit).fallback?.value)} |`,
  )
}

test("ARCHITECTURE.md's table of limits has the schema's names and defaults", () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const table = /<!-- limits -->\n([^]*?)\n<!-- \/limits -->/.exec(text)?.[1] ?? ''
  const rows = table.split('\n').slice(2)
  expect(rows.map((row) => row.split('|', 3).join('|') + '|')).toEqual(limitRows())
})

test("ARCHITECTURE.md's error table is the code's", () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const table = /<!-- errors -->\n([^]*?)\n<!-- \/errors -->/.exec(text)?.[1]
  expect(table).toBe(errorTable())
})
