/**
 * Overrides of regression cases in the format of the CRS: another expectation for a case, with the
 * reason. `ignore` leaves cases out (go-ftw's `testoverride.ignore`: a pattern and the reason).
 */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../config/faults.ts'
import { type RegressionCase, expectationOf, outputSchema, unreadable } from './cases.ts'

const reason = z.string().min(1)

const override = z.strictObject({
  rule_id: z.number(),
  test_ids: z.array(z.number()).optional(),
  stage_ids: z.array(z.number()).optional(),
  reason,
  retry_once: z.boolean().optional(),
  expect_failure: z.boolean().optional(),
  output: outputSchema,
})

const ignore = z.record(z.string(), reason)

const fileSchema = z.strictObject({
  version: z.string().optional(),
  meta: z.looseObject({}).nullish(),
  test_overrides: z.array(override).nullish(),
  ignore: ignore.optional(),
  testoverride: z.looseObject({ ignore: ignore.optional() }).optional(),
})

/** What an overrides file says, ready to be applied. */
export interface Overrides {
  /** How many entries it has. */
  readonly count: number
  /** The reason for which a case does not count; null when it does. */
  ignored(one: RegressionCase): string | null
  /** The case with the expectations that replace its own. */
  apply(one: RegressionCase): RegressionCase
}

/** Nothing is overridden. */
export const noOverrides: Overrides = { count: 0, ignored: () => null, apply: (one) => one }

/** Reads an overrides file; throws a `ConfigError` with its fault. */
export function readOverrides(file: string): Overrides {
  try {
    return overridesOf(readFileSync(file, 'utf8'))
  } catch (error) {
    const mend = 'write version, meta and test_overrides with rule_id, test_ids, reason and output'
    throw new ConfigError([{ ...unreadable(file, error), mend }])
  }
}

/** The overrides that a text says. */
export function overridesOf(text: string): Overrides {
  const read = fileSchema.parse(parse(text))
  const list = read.test_overrides ?? []
  const patterns = Object.entries({ ...read.testoverride?.ignore, ...read.ignore })
  const ignores = patterns.map(([pattern, why]) => ({ pattern: new RegExp(pattern), why }))
  return {
    count: list.length + ignores.length,
    ignored: (one) => ignores.find(({ pattern }) => pattern.test(one.id))?.why ?? null,
    apply: (one) => {
      const own = list.filter(
        (entry) => entry.rule_id === one.ruleId && (entry.test_ids?.includes(one.testId) ?? true),
      )
      return own.reduce(replaceExpectation, one)
    },
  }
}

function replaceExpectation(one: RegressionCase, entry: z.output<typeof override>): RegressionCase {
  const expected = expectationOf(entry.output)
  const retryOnce = entry.retry_once ?? expected.retryOnce
  return {
    ...one,
    stages: one.stages.map((stage, index) =>
      // Stages are counted from 0, as go-ftw does.
      entry.stage_ids?.includes(index) === false
        ? stage
        : { ...stage, expect: { ...expected, retryOnce } },
    ),
  }
}
