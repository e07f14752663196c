/**
 * What there is to say of SecLang files before any request: what would be refused, what loads but
 * can hardly be meant, and what is only worth knowing.
 */
import type { Rule, Ruleset, SecLangFault } from '../rule.ts'
import { SecLangError } from '../seclang/faults.ts'
import { readSecLang, type SecLangInput } from '../seclang/parser.ts'
import { doubtsAbout, notesAbout } from './doubts.ts'
import { unsetNames } from './names.ts'

/** `error`: refused at load; `warning`: hardly meant; `notice`: good to know. */
export type Level = 'error' | 'warning' | 'notice'

/** One thing to say, with its place. */
export interface Finding {
  readonly level: Level
  readonly file: string
  readonly line: number
  readonly column: number
  readonly message: string
  readonly mend: string
}

/** All of them, in the order of files and lines. */
export interface LintReport {
  readonly findings: readonly Finding[]
  readonly rules: number
  readonly files: number
}

/** What to lint. */
export interface LintSource {
  readonly inputs: readonly SecLangInput[]
  /** What is wrong already, such as files that are not there. */
  readonly faults?: readonly SecLangFault[]
  /** Files that are read for their effect on the others, such as base.conf: not judged. */
  readonly silent?: readonly string[]
  /** Compiles what was read; throws a `SecLangError` with what the operators refuse. */
  readonly compile: (ruleset: Ruleset) => void
}

/** Reads and judges. */
export function lint({ inputs, faults: known = [], silent = [], compile }: LintSource): LintReport {
  const { ruleset, faults } = readSecLang(inputs, known)
  const refused = faults.length > 0 ? faults : compileFaults(ruleset, compile)
  const rules = ruleset.items.filter((item): item is Rule => item.kind === 'rule')
  const doubtful = ruleset.notices.filter(({ doubtful }) => doubtful === true)
  const plain = ruleset.notices.filter(({ doubtful }) => doubtful !== true)
  // Of rules that could only be read in part, little could be said that is true.
  const whole = faults.length === 0
  const findings = [
    ...refused.map(as('error')),
    ...[...doubtful, ...(whole ? judged(rules) : [])].map(as('warning')),
    ...[...plain, ...rules.flatMap(notesAbout), ...idleBody(rules, ruleset)].map(as('notice')),
  ]
  const order = new Map(ruleset.files.map((file, index) => [file, index]))
  return {
    findings: findings
      .filter(({ file }) => !silent.includes(file))
      .toSorted((a, b) => place(order, a) - place(order, b) || a.line - b.line),
    rules: rules.length,
    files: ruleset.files.length,
  }
}

function judged(rules: readonly Rule[]): SecLangFault[] {
  return [...rules.flatMap(doubtsAbout), ...unsetNames(rules)]
}

function as(level: Level): (fault: SecLangFault) => Finding {
  return ({ file, line, column, message, mend }) => ({ level, file, line, column, message, mend })
}

function place(order: ReadonlyMap<string, number>, { file }: Finding): number {
  return order.get(file) ?? -1
}

function compileFaults(ruleset: Ruleset, compile: LintSource['compile']): readonly SecLangFault[] {
  try {
    compile(ruleset)
    return []
  } catch (error) {
    if (error instanceof SecLangError) return error.faults
    throw error
  }
}

/** Rules on a body that nobody hands over are many in the CRS: one notice for all of them. */
function idleBody(rules: readonly Rule[], { settings }: Ruleset): SecLangFault[] {
  if (settings.responseBodyAccess || rules.some(opensBody)) return []
  const idle = rules.filter(({ links }) =>
    links.some(({ targets }) => targets.some(({ variable }) => variable === 'RESPONSE_BODY')),
  )
  const [first] = idle
  if (first === undefined) return []
  return [
    {
      ...first.source,
      column: 1,
      message: `${idle.length} rules read RESPONSE_BODY, and SecResponseBodyAccess is Off`,
      mend: 'write SecResponseBodyAccess On if responses are to be inspected',
    },
  ]
}

function opensBody({ links }: Rule): boolean {
  return links.some(({ actions }) =>
    actions.some(
      ({ name, argument }) => name === 'ctl' && /^responseBodyAccess\s*=\s*on$/i.test(argument),
    ),
  )
}
