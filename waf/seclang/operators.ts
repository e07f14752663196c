/** `"!@pmFromFile words.data"` → operator, negation, argument and the entries of its file. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Report } from './faults.ts'
import { phrases } from './phrases.ts'
import { reasonOf } from '../reason-of.ts'

/** The operator of one link, ready for the plan. */
export interface OperatorUse {
  readonly operator: string
  readonly negated: boolean
  readonly argument: string
  readonly entries: readonly string[]
}

interface OperatorKind {
  readonly argument: 'required' | 'none'
  /** The argument is a number or a list, so blanks around it mean nothing. */
  readonly trimmed?: true
  /** Where the entries come from. */
  readonly entries?: 'argument' | 'file'
  /** `%{tx.name}` in the argument is expanded when the rule runs. */
  readonly macros?: true
}

/** Texts keep their blanks: `@contains  or ` means the blanks. */
const plain = { argument: 'required', macros: true } as const
const number = { argument: 'required', macros: true, trimmed: true } as const
const list = { argument: 'required', trimmed: true } as const
const bare = { argument: 'none' } as const

/** By lower-case name. */
const operators: ReadonlyMap<string, OperatorKind> = new Map<string, OperatorKind>([
  ['beginswith', plain],
  ['contains', plain],
  ['containsword', plain],
  ['detectsqli', bare],
  ['detectxss', bare],
  ['endswith', plain],
  ['eq', number],
  ['ge', number],
  ['geolookup', bare],
  ['gt', number],
  ['ipmatch', list],
  ['ipmatchfromfile', { ...list, entries: 'file' }],
  ['le', number],
  ['lt', number],
  ['nomatch', bare],
  ['pm', { argument: 'required', entries: 'argument' }],
  ['pmfromfile', { ...list, entries: 'file' }],
  ['rbl', list],
  ['rx', { argument: 'required', macros: true }],
  ['rxglobal', { argument: 'required', macros: true }],
  ['streq', plain],
  ['strmatch', plain],
  ['unconditionalmatch', bare],
  ['validatebyterange', list],
  ['validateurlencoding', bare],
  ['validateutf8encoding', bare],
  ['verifycc', list],
  ['verifycpf', list],
  ['verifyssn', list],
  ['verifysvnr', list],
  ['within', plain],
])

const aliases: ReadonlyMap<string, string> = new Map([
  ['ipmatchf', 'ipmatchfromfile'],
  ['pmf', 'pmfromfile'],
])

/** SecLang has these; this engine does not. */
const refused: ReadonlyMap<string, string> = new Map([
  ['fuzzyhash', 'remove the rule; compare uploads behind the proxy'],
  ['gsblookup', 'remove the rule; ModSecurity 3 does nothing for it either'],
  ['inspectfile', 'remove the rule; no program is run for a request'],
  ['rsub', 'remove the rule; bodies are never rewritten'],
  ['validatedtd', 'remove the rule; no DTD is read, validate XML behind the proxy'],
  ['validatehash', 'remove the rule; ModSecurity 3 does nothing for it either'],
  ['validateschema', 'remove the rule; validate XML behind the proxy'],
])

/** True for `@geoLookup` without a database, whose path is its argument. */
export function neverMatches({ operator, argument }: Pick<OperatorUse, 'operator' | 'argument'>) {
  return operator === 'geolookup' && argument === ''
}

/** Reads the operator argument of `SecRule` in `file`; null after a report. */
export function parseOperator(written: string, file: string, report: Report): OperatorUse | null {
  const parts = /^\s*(!?)\s*(?:@(\w*)(?:\s+|$))?(.*)$/s.exec(written)
  const spelled = parts?.[2] ?? 'rx'
  const lower = spelled.toLowerCase()
  const operator = aliases.get(lower) ?? lower
  const kind = operators.get(operator)
  if (kind === undefined) {
    const mend = refused.get(operator)
    if (mend === undefined) report(`unknown operator @${spelled}`, 'check its spelling')
    else report(`operator @${spelled} is not supported`, mend)
    return null
  }
  const rest = parts?.[3] ?? ''
  const argument = kind.trimmed ? rest.trim() : rest
  if (kind.argument === 'required' && argument === '' && mayNotBeEmpty(operator)) {
    report(`@${spelled} has no argument`, `write "@${spelled} …"`)
    return null
  }
  if (operator === 'rbl' && !isZone(argument)) {
    report(`@rbl ${argument}: no name of a list`, 'write one such as @rbl zen.spamhaus.org')
    return null
  }
  const entries = readEntries({ kind, argument, file, spelled }, report)
  return entries === null ? null : { operator, negated: parts?.[1] === '!', argument, entries }
}

/** Short enough for the digits of an IPv6 address before it. */
function isZone(text: string): boolean {
  return text.length <= 180 && /^(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?$/.test(text)
}

/** `@streq` and its like compare with the empty text too, and an empty pattern matches always. */
function mayNotBeEmpty(operator: string): boolean {
  return operators.get(operator)?.macros !== true || operators.get(operator)?.trimmed === true
}

interface EntriesOf {
  readonly kind: OperatorKind
  readonly argument: string
  readonly file: string
  readonly spelled: string
}

function readEntries(of: EntriesOf, report: Report): readonly string[] | null {
  if (of.kind.entries === undefined) return []
  if (of.kind.entries === 'argument') return phrases(of.argument)
  if (/^https?:/i.test(of.argument)) {
    report(`@${of.spelled} ${of.argument}: no address is read`, 'fetch the file and name it')
    return null
  }
  const path = resolve(dirname(of.file), of.argument)
  try {
    return dataLines(readFileSync(path, 'latin1'))
  } catch (error) {
    const mend = 'put the file beside the rule file, or mend its name'
    report(`@${of.spelled}: cannot read its file: ${reasonOf(error)}`, mend)
    return null
  }
}

/** Blanks around an entry belong to it, as in ModSecurity 3; no comments, no blank lines. */
function dataLines(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => !/^\s*(?:#|$)/.test(line))
}

/** True when the argument must be expanded anew for every request. */
export function hasMacros(operator: string, argument: string): boolean {
  return operators.get(operator)?.macros === true && /%\{[A-Za-z_][^}]*\}/.test(argument)
}
