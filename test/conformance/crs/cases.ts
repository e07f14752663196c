/**
 * Reads go-ftw's YAML regression cases (fields: ../shared/crs/README.md and reference/waf.md §1).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

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
  readonly matchRegex: string | null
  readonly noMatchRegex: string | null
  readonly status: number | null
  readonly expectError: boolean
}

/** One stage of one case. */
export interface Stage {
  readonly request: CaseRequest
  readonly expect: CaseExpectation
}

/** One case, `942100-3`. */
export interface RegressionCase {
  readonly id: string
  readonly stages: readonly Stage[]
}

interface YamlInput {
  method?: string
  uri?: string
  version?: string
  headers?: Record<string, string | number | null>
  data?: string
  autocomplete_headers?: boolean
  encoded_request?: string
}

interface YamlOutput {
  status?: number
  expect_error?: boolean
  log?: {
    expect_ids?: number[]
    no_expect_ids?: number[]
    match_regex?: string
    no_match_regex?: string
  }
}

interface YamlFile {
  rule_id?: number
  tests?: { test_id: number; stages: { input: YamlInput; output: YamlOutput }[] }[] | null
}

/** Every case below `directory`, in the order of file names. */
export function readCases(directory: string): RegressionCase[] {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  const files = names.filter((name) => name.endsWith('.yaml')).toSorted()
  return files.flatMap((name) => casesOf(readFileSync(join(directory, name), 'utf8')))
}

function casesOf(text: string): RegressionCase[] {
  const file = parse(text) as YamlFile
  return (file.tests ?? []).map((test) => ({
    id: `${file.rule_id ?? 0}-${test.test_id}`,
    stages: test.stages.map((stage) => ({
      request: requestOf(stage.input),
      expect: expectationOf(stage.output),
    })),
  }))
}

function requestOf(input: YamlInput): CaseRequest {
  const headers = Object.entries(input.headers ?? {})
  return {
    method: input.method ?? 'GET',
    uri: input.uri ?? '/',
    version: input.version ?? 'HTTP/1.1',
    headers: headers.map(([name, value]) => [name, String(value ?? '')] as const),
    data: input.data ?? '',
    autocompleteHeaders: input.autocomplete_headers ?? true,
    raw: input.encoded_request ? Buffer.from(input.encoded_request, 'base64') : null,
  }
}

function expectationOf(output: YamlOutput): CaseExpectation {
  return {
    expectIds: output.log?.expect_ids ?? [],
    noExpectIds: output.log?.no_expect_ids ?? [],
    matchRegex: output.log?.match_regex ?? null,
    noMatchRegex: output.log?.no_match_regex ?? null,
    status: output.status ?? null,
    expectError: output.expect_error ?? false,
  }
}
