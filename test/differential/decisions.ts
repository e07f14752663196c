/** The differences that were looked at: which are known, who is right, and what we do. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Difference } from './compare.ts'

const pattern = z.string().transform((text) => new RegExp(text, 's'))

const decisionSchema = z.strictObject({
  name: z.string(),
  /** What differs, in a sentence. */
  what: z.string(),
  /** Which it covers: everything that is said must hold. */
  where: z.strictObject({
    rules: z.array(z.number()).optional(),
    only: z.enum(['ours', 'theirs']).optional(),
    /** Patterns over the log line's variable and value, and over the request's own texts. */
    variable: pattern.optional(),
    value: pattern.optional(),
    method: pattern.optional(),
    target: pattern.optional(),
    contentType: pattern.optional(),
    cookie: pattern.optional(),
    body: pattern.optional(),
    /** All headers as lines. */
    headers: pattern.optional(),
    /** Whether both refuse the request for a body that does not parse. */
    isBroken: z.boolean().optional(),
  }),
  /** By the reference manual, an RFC, or the rule's own intent. */
  right: z.enum(['ours', 'theirs', 'both', 'neither']),
  decision: z.enum(['keep', 'mended', 'elsewhere']),
  reason: z.string(),
})

/** One cause that was decided. */
export type Decision = z.infer<typeof decisionSchema>

/** All of them; the first that covers a difference names its cause. */
export function readDecisions(): Decision[] {
  const text = readFileSync(join(import.meta.dirname, 'decisions.yaml'), 'utf8')
  return z.array(decisionSchema).parse(parse(text))
}

/** Whether a decision is about this difference. */
export function covers({ where }: Decision, difference: Difference): boolean {
  const { only, match, request } = difference
  if (where.rules !== undefined && !where.rules.includes(match.id)) return false
  if (where.only !== undefined && where.only !== only) return false
  if (where.isBroken !== undefined && where.isBroken !== difference.isBroken) return false
  const header = (name: string): string =>
    request.headers.find(([own]) => own.toLowerCase() === name)?.[1] ?? ''
  const tests: readonly (readonly [RegExp | undefined, () => string])[] = [
    [where.variable, () => match.variable],
    [where.value, () => match.value],
    [where.method, () => request.method],
    [where.target, () => request.target],
    [where.contentType, () => header('content-type')],
    [where.cookie, () => header('cookie')],
    [where.body, () => Buffer.from(request.body ?? []).toString('latin1')],
    [where.headers, () => request.headers.map((pair) => pair.join(': ')).join('\n')],
  ]
  return tests.every(([wanted, text]) => wanted === undefined || wanted.test(text()))
}
