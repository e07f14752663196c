/**
 * The hard cases of SecLang's order over the real addon: rules, a request, and what ModSecurity v3
 * makes of them. `npm run e2e:oracle` holds the same rows to ModSecurity itself.
 */
import { basename } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createEngine, type Inspected, type OfflineEngine } from '../../waf/offline/engine.ts'
import type { SecLangInput } from '../../waf/seclang/parser.ts'
import {
  orderCases,
  orderFiles,
  inputsOf,
  plainRequest,
  type Expectation,
  type OrderCase,
} from './order-cases.ts'

/** Fewer would mean that a file was not found. */
const ROWS_MIN = 200

/** Rows over the same CRS share its engine: it takes a second to compile. */
const shared = new Map<string, OfflineEngine>()
afterAll(() => shared.forEach((engine) => engine.close()))

/** A loaded machine must not make a verdict out of its load. */
const options = { scanBudgetMs: 60_000 }

function engineOf(row: OrderCase, inputs: readonly SecLangInput[]): OfflineEngine {
  if (row.crs === undefined) return createEngine(inputs, options)
  const key = JSON.stringify([row.crs, row.rules])
  const engine = shared.get(key) ?? createEngine(inputs, options)
  shared.set(key, engine)
  return engine
}

function run(row: OrderCase, inputs: readonly SecLangInput[]): Inspected {
  const engine = engineOf(row, inputs)
  try {
    const { body, ...head } = plainRequest(row)
    const request = { ...head, peer: '192.0.2.1', ...bodyOf(body) }
    const { status, headers, body: answer } = row.request.response ?? noResponse
    return engine.inspect(request, { status, headers, body: Buffer.from(answer, 'latin1') })
  } finally {
    if (row.crs === undefined) engine.close()
  }
}

const noResponse = { status: 200, headers: [], body: '' }

function bodyOf(body: string): { body?: Uint8Array } {
  return body === '' ? {} : { body: Buffer.from(body, 'latin1') }
}

/** The same fields that the row names. */
function seen(
  { verdict, matched, tx }: Inspected,
  { expect: { tx: named } }: OrderCase,
): Expectation {
  return {
    ids: matched.filter(({ rule }) => rule.log).map(({ rule }) => rule.id),
    status: 'status' in verdict ? verdict.status : 0,
    tx: Object.fromEntries(Object.keys(named).map((name) => [name, tx.get(name) ?? ''])),
  }
}

test(`the table has at least ${ROWS_MIN} rows, each with its own name`, () => {
  const names = orderFiles().flatMap((file) => orderCases(file).map(({ name }) => name))
  expect(names.length).toBeGreaterThanOrEqual(ROWS_MIN)
  expect(new Set(names).size).toBe(names.length)
})

for (const file of orderFiles())
  describe(basename(file, '.yaml'), () => {
    for (const row of orderCases(file)) {
      const inputs = inputsOf(row)
      if (inputs === null) console.warn(`NOT RUN: ${row.name}: no rules at EDGE_CRS_DIR`)
      else test(row.name, () => expect(seen(run(row, inputs), row)).toEqual(row.expect), 60_000)
    }
  })
