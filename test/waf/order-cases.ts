/**
 * The hard cases of SecLang's order as data: `order/*.yaml`. Each expectation is what ModSecurity
 * v3 does (`npm run e2e:oracle` asks it again), save where a case carries a `decision`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { root } from '../harness/edge.ts'

const headers = z.array(z.tuple([z.string(), z.string()])).default([])

const request = z.strictObject({
  target: z.string(),
  method: z.string().optional(),
  headers,
  /** A body with `Content-Type: application/x-www-form-urlencoded`. */
  form: z.string().optional(),
  /** A body of another media type. */
  type: z.string().optional(),
  body: z.string().optional(),
  response: z
    .strictObject({ status: z.number().default(200), headers, body: z.string().default('') })
    .optional(),
})

/** Values as they are at the end of phase 5; null is a value still to be learned. */
const expectation = z.strictObject({
  ids: z.array(z.number()).default([]),
  /** Of the intervention; 0 when nothing stopped the exchange. */
  status: z.number().default(0),
  tx: z.record(z.string(), z.string().nullable()).default({}),
})

const orderCase = z.strictObject({
  name: z.string(),
  rules: z.string(),
  request,
  expect: expectation.default({ ids: [], status: 0, tx: {} }),
  /** Where this engine means to differ: what ModSecurity does, and why we do not. */
  decision: z.strictObject({ why: z.string(), modsecurity: expectation }).optional(),
})

/** One row of the table. */
export type OrderCase = z.infer<typeof orderCase>
/** What came, or should come, of a row. */
export type Expectation = z.infer<typeof expectation>

/** The request of a row in the fields that both engines take. */
export interface PlainRequest {
  readonly method: string
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

const directory = join(root, 'test/waf/order')

/** What every row begins with. */
export const preamble = `SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html
`

/** The files of the table. */
export function orderFiles(): readonly string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.yaml'))
    .toSorted()
    .map((name) => join(directory, name))
}

/** The rows of one file. */
export function orderCases(file: string): readonly OrderCase[] {
  return z.array(orderCase).parse(parse(readFileSync(file, 'utf8')))
}

/** The request as it is sent. */
export function plainRequest({ request: written }: OrderCase): PlainRequest {
  const body = written.form ?? written.body ?? ''
  const type = written.form === undefined ? written.type : 'application/x-www-form-urlencoded'
  const own: (readonly [string, string])[] = [['Host', 'example.org'], ...written.headers]
  if (type !== undefined) own.push(['Content-Type', type])
  if (body !== '') own.push(['Content-Length', String(body.length)])
  const method = written.method ?? (body === '' ? 'GET' : 'POST')
  return { method, target: written.target, headers: own, body }
}
