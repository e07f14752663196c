/**
 * The hard cases of SecLang's order as data: `order/*.yaml`. Each expectation is what ModSecurity
 * v3 does (`npm run e2e:oracle` asks it again), save where a case carries a `decision`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import type { SecLangInput } from '../../waf/seclang/parser.ts'
import { crsDirectory, root } from '../harness/edge.ts'

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

/** The OWASP CRS under the row's own rules. */
const crsUse = z.strictObject({
  /** SecLang between the setup file and the rules. */
  setup: z.string().default(''),
  /** Each rule decides for itself: SecDefaultAction denies. */
  selfContained: z.boolean().default(false),
})

const orderCase = z.strictObject({
  name: z.string(),
  rules: z.string().default(''),
  crs: crsUse.optional(),
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
const preamble = `SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html
`

/** What a row loads, in order; null where there is no CRS for a row that needs it. */
export function inputsOf({ rules, crs }: OrderCase): readonly SecLangInput[] | null {
  const own = { file: 'row.conf', text: rules }
  const first = { file: 'preamble.conf', text: preamble }
  if (crs === undefined) return [first, own]
  const folder = crsDirectory()
  if (folder === null) return null
  const setup = readFileSync(join(folder, 'crs-setup.conf.example'), 'latin1')
  const denies = setup.replaceAll(
    /^(SecDefaultAction "phase:[12345],.*),pass"/gm,
    '$1,deny,status:403"',
  )
  const files = readdirSync(join(folder, 'rules')).filter((name) => name.endsWith('.conf'))
  return [
    first,
    { file: 'setup.conf', text: crs.selfContained ? denies : setup },
    { file: 'own-setup.conf', text: crs.setup },
    ...files.toSorted().map((name) => ({ file: join(folder, 'rules', name) })),
    // Its report of the scores says noauditlog, which takes ModSecurity's error log along.
    { file: 'unreported.conf', text: 'SecRuleRemoveById 980170' },
    own,
  ]
}

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
