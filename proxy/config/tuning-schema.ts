/** How routes are inspected: the keys that stand under `waf` and under each route's `waf`. */
import { z } from 'zod'
import { compileExclusionTarget } from '../../waf/tuning/exclusion-target.ts'
import type { Exclusion } from '../../waf/tuning/tuning.ts'
import { count, flag, mends } from './fields.ts'
import { reasonOf } from '../../waf/reason-of.ts'

const rulesMax = 1_000
const tagsMax = 100
const targetsMax = 100
const pathsMax = 1_000
const methodsMax = 20
const exclusionsMax = 1_000
const pointsMax = 100_000
const reasonCharactersMax = 200

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message })
  return z.NEVER
}

/** `942100`, `"942200-942299"`. */
function ruleRange() {
  return z
    .union([z.int(), z.string()])
    .transform((value, context): Exclusion['rules'][number] => {
      const [, low = '', high = low] = /^(\d{1,15})(?:\s*-\s*(\d{1,15}))?$/.exec(`${value}`) ?? []
      const range = { first: Number(low), last: Number(high) }
      const isRange = low !== '' && range.first > 0 && range.first <= range.last
      return isRange ? range : refuse(context, `"${value}" is no rule id or range of ids`)
    })
    .register(mends, { mend: 'write an id such as 942100, or a range such as "942200-942299"' })
}

function tag() {
  return z
    .string()
    .min(1)
    .max(200)
    .register(mends, { mend: 'write the whole tag, for example attack-sqli' })
}

/** `ARGS:name`, `REQUEST_COOKIES:/^x/`. */
function target() {
  return z
    .string()
    .max(500)
    .transform((value, context): string => {
      try {
        compileExclusionTarget(value)
        return value
      } catch (error) {
        const reason = reasonOf(error)
        return refuse(context, `"${value}" is no target: ${reason}`)
      }
    })
    .register(mends, { mend: 'write VARIABLE, VARIABLE:name or "VARIABLE:/regex/"' })
}

/** `/search`, `/api/*`. */
function exclusionPath() {
  return z
    .string()
    .max(2_000)
    .regex(/^\/[^?#*\s]*\*?$/, 'not a path')
    .register(mends, {
      mend: 'write the whole path, or its beginning and a * at the end; no query, no pattern',
    })
}

function method() {
  return z
    .string()
    .regex(/^[A-Z][A-Z0-9_-]{0,31}$/, 'not a method')
    .register(mends, { mend: 'write a method in capitals, for example POST' })
}

const exclusion = z.strictObject({
  rules: z
    .array(ruleRange())
    .max(rulesMax)
    .prefault([])
    .describe('Rules by id, or by a range of ids'),
  tags: z.array(tag()).max(tagsMax).prefault([]).describe('And those that carry one of these tags'),
  targets: z
    .array(target())
    .max(targetsMax)
    .prefault([])
    .describe('What these rules do not see, as ARGS:name; none: these rules do not run'),
  paths: z
    .array(exclusionPath())
    .max(pathsMax)
    .prefault([])
    .describe('Only for these paths; with a * at the end: all that begin so'),
  methods: z.array(method()).max(methodsMax).prefault([]).describe('Only for these methods'),
  reason: z.string().max(reasonCharactersMax).prefault('').describe('For those who read it later'),
})

/** The keys; `null` takes what holds without them. */
export const tuningKeys = {
  detectionParanoia: count(1, 4)
    .nullable()
    .prefault(null)
    .describe('Level whose rules run and score without blocking; null: that of paranoia'),
  inboundThreshold: count(1, pointsMax)
    .nullable()
    .prefault(null)
    .describe('Points at which a request is blocked; null: that of the rules (CRS: 5)'),
  outboundThreshold: count(1, pointsMax)
    .nullable()
    .prefault(null)
    .describe('Points at which a response is blocked; null: that of the rules (CRS: 4)'),
  earlyBlocking: flag()
    .nullable()
    .prefault(null)
    .describe('Block after phase 1 already; null: as the rules have it'),
  exclusions: z
    .array(exclusion)
    .max(exclusionsMax)
    .prefault([])
    .describe('Rules, or what rules see, taken out of inspection'),
} as const
