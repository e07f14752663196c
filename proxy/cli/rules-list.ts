/** `edge rules list`: what rules there are, in the order in which they run. */
import { basename } from 'node:path'
import { loadRuleset } from '../../waf/seclang/load.ts'
import { severities } from '../../waf/seclang/phases.ts'
import type { Rule } from '../../waf/rule.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import { asConfigError, ruleFlags, ruleSource } from './rule-source.ts'
import type { Terminal } from './terminal.ts'

const options = { ...ruleFlags, json: { type: 'boolean' } } as const

/** One rule of the list. */
interface ListedRule {
  readonly id: number
  readonly file: string
  readonly line: number
  readonly phase: number
  /** From its tag; null for a rule that runs at every level. */
  readonly paranoia: number | null
  readonly severity: string | null
  readonly tags: readonly string[]
  readonly message: string
}

/** Prints them. */
export async function rulesList(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge rules list', args, options)
  noPositionals('edge rules list', positionals)
  const list = listed(ruleSource(values, terminal.env))
  if (values.json === true) terminal.print(JSON.stringify(list, null, 2))
  else for (const rule of list) terminal.print(lineOf(rule))
  return exitCodes.fine
}

function listed({ ruleset }: ReturnType<typeof ruleSource>): ListedRule[] {
  try {
    return loadRuleset(ruleset).items.flatMap((item) =>
      item.kind === 'rule' ? [listedRule(item)] : [],
    )
  } catch (error) {
    throw asConfigError(error)
  }
}

function listedRule({ id, source, phase, severity, tags, msg }: Rule): ListedRule {
  const level = tags.map((tag) => /^paranoia-level\/([1-4])$/.exec(tag)?.[1]).find(Boolean)
  return {
    id,
    file: source.file,
    line: source.line,
    phase,
    paranoia: level === undefined ? null : Number(level),
    severity: severities[severity ?? -1] ?? null,
    tags,
    message: msg,
  }
}

function lineOf({ id, file, line, phase, paranoia, severity, tags, message }: ListedRule): string {
  const level = paranoia === null ? '   ' : `PL${paranoia}`
  const place = `${basename(file)}:${line}`
  const count = `${tags.length} tags`.padStart(7)
  const head = `${String(id).padStart(7)}  phase ${phase}  ${level}  ${(severity ?? '').padEnd(9)}`
  return `${head}  ${count}  ${place}  ${message}`.trimEnd()
}
