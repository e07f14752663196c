/** Reads go-ftw's YAML regression cases: what is sent, and what is expected of it. */
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { ConfigError, type Fault } from '../config/faults.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** The request of one stage, with go-ftw's defaults filled in. */
export interface CaseRequest {
  readonly method: string
  readonly uri: string
  readonly version: string
  readonly headers: readonly (readonly [string, string])[]
  readonly data: string
  readonly autocompleteHeaders: boolean
  /** The complete request, byte for byte; then nothing else counts. */
  readonly raw: Buffer | null
}

/** What one stage expects. */
export interface CaseExpectation {
  readonly expectIds: readonly number[]
  readonly noExpectIds: readonly number[]
  readonly matchRegex: RegExp | null
  readonly noMatchRegex: RegExp | null
  readonly status: number | null
  readonly expectError: boolean
  /** Phase 5 may log after the answer: a failing stage is sent once more. */
  readonly retryOnce: boolean
}

/** One stage of one case. */
export interface Stage {
  readonly request: CaseRequest
  readonly expect: CaseExpectation
}

/** One case, `942100-3`. */
export interface RegressionCase {
  readonly id: string
  readonly ruleId: number
  readonly testId: number
  readonly file: string
  readonly stages: readonly Stage[]
}

const texts = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))

const input = z.strictObject({
  // Where to send it is the runner's business.
  dest_addr: z.string().optional(),
  port: z.number().optional(),
  protocol: z.string().optional(),
  method: z.string().optional(),
  uri: z.string().optional(),
  version: z.string().optional(),
  headers: texts.nullish(),
  ordered_headers: z.array(z.strictObject({ name: z.string(), value: z.string() })).optional(),
  data: z.union([z.string(), z.number(), z.array(z.string())]).nullish(),
  encoded_data: z.string().optional(),
  autocomplete_headers: z.boolean().optional(),
  stop_magic: z.boolean().optional(),
  encoded_request: z.string().nullish(),
})

const ids = z.array(z.number())

/** The part of a stage, or of an override, that says what is expected. */
export const outputSchema = z.strictObject({
  status: z.number().optional(),
  expect_error: z.boolean().optional(),
  retry_once: z.boolean().optional(),
  isolated: z.boolean().optional(),
  log: z
    .strictObject({
      expect_ids: ids.optional(),
      no_expect_ids: ids.optional(),
      match_regex: z.string().optional(),
      no_match_regex: z.string().optional(),
    })
    .nullish(),
  // The spelling of before go-ftw 1.0.
  log_contains: z.string().optional(),
  no_log_contains: z.string().optional(),
})

/** An expectation as YAML has it. */
export type CaseOutput = z.output<typeof outputSchema>

const plainStage = z.strictObject({
  description: z.string().optional(),
  input,
  output: outputSchema,
})
const stage = z.union([
  plainStage,
  z.strictObject({ stage: plainStage }).transform((wrapped) => wrapped.stage),
])

const fileSchema = z.object({
  meta: z.looseObject({ enabled: z.boolean().optional() }).nullish(),
  rule_id: z.number().optional(),
  tests: z
    .array(
      z.looseObject({
        test_id: z.number().optional(),
        test_title: z.union([z.string(), z.number()]).optional(),
        stages: z.array(stage).min(1),
      }),
    )
    .nullish(),
})

/** Bytes of one file of cases. */
const fileBytesMax = 16 * 1024 * 1024

/** Every case of files and folders, by file name; a `ConfigError` names the faults. */
export function readCases(paths: readonly string[]): RegressionCase[] {
  const faults: Fault[] = []
  const cases = paths.flatMap((path) =>
    filesBelow(path, faults).flatMap((file) => readFile(file, faults)),
  )
  if (faults.length > 0) throw new ConfigError(faults)
  return cases
}

function filesBelow(path: string, faults: Fault[]): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' })
    const files = names.filter((name) => /\.ya?ml$/.test(name)).toSorted()
    return files.map((name) => join(path, name))
  } catch (error) {
    faults.push(unreadable(path, error))
    return []
  }
}

function readFile(file: string, faults: Fault[]): RegressionCase[] {
  try {
    if (statSync(file).size > fileBytesMax) throw new Error(`is over ${fileBytesMax} bytes`)
    return casesOf(readFileSync(file, 'utf8'), file)
  } catch (error) {
    faults.push(unreadable(file, error))
    return []
  }
}

/** A fault of a file with what is wrong in it. */
export function unreadable(file: string, error: unknown): Fault {
  const mend = "write the cases as go-ftw's YAML has them"
  if (!(error instanceof z.ZodError)) {
    const message = reasonOf(error)
    return { where: file, message, mend }
  }
  const [issue] = error.issues
  const place = issue === undefined ? '' : issue.path.map(String).join('.')
  return { where: file, message: `${place}: ${issue?.message ?? 'is not accepted'}`, mend }
}

/** The cases of one file's text. */
export function casesOf(text: string, file: string): RegressionCase[] {
  const parsed = fileSchema.parse(parse(text))
  if (parsed.meta?.enabled === false) return []
  return (parsed.tests ?? []).map((test, index) => {
    const [, rule = '0', number = String(index + 1)] =
      /^(\d+)-(\d+)/.exec(String(test.test_title ?? '')) ?? []
    const ruleId = parsed.rule_id ?? Number(rule)
    const testId = test.test_id ?? Number(number)
    return {
      id: `${ruleId}-${testId}`,
      ruleId,
      testId,
      file,
      stages: test.stages.map((one) => ({
        request: requestOf(one.input),
        expect: expectationOf(one.output),
      })),
    }
  })
}

function requestOf(given: z.output<typeof input>): CaseRequest {
  const named = Object.entries(given.headers ?? {}).map(([name, value]): [string, string] => [
    name,
    String(value ?? ''),
  ])
  const ordered = (given.ordered_headers ?? []).map(({ name, value }): [string, string] => [
    name,
    value,
  ])
  const { encoded_request: encoded, encoded_data: encodedData, data } = given
  const plain = Array.isArray(data) ? data.join('\r\n') : String(data ?? '')
  return {
    method: given.method ?? 'GET',
    uri: given.uri ?? '/',
    version: given.version ?? 'HTTP/1.1',
    headers: [...named, ...ordered],
    data: encodedData === undefined ? plain : Buffer.from(encodedData, 'base64').toString('latin1'),
    autocompleteHeaders: given.autocomplete_headers ?? given.stop_magic !== true,
    raw: encoded === undefined || encoded === null ? null : Buffer.from(encoded, 'base64'),
  }
}

/** An expectation, understood. */
export function expectationOf(output: CaseOutput): CaseExpectation {
  const match = output.log?.match_regex ?? output.log_contains
  const noMatch = output.log?.no_match_regex ?? output.no_log_contains
  return {
    expectIds: output.log?.expect_ids ?? [],
    noExpectIds: output.log?.no_expect_ids ?? [],
    matchRegex: match === undefined ? null : regexOf(match),
    noMatchRegex: noMatch === undefined ? null : regexOf(noMatch),
    status: output.status ?? null,
    expectError: output.expect_error ?? false,
    retryOnce: output.retry_once ?? false,
  }
}

/** Go writes flags as `(?i)` at the start. */
function regexOf(pattern: string): RegExp {
  const [, flags = '', rest = pattern] = /^\(\?([ims]+)\)(.*)$/s.exec(pattern) ?? []
  return new RegExp(rest, flags)
}
