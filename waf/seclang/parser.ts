/** SecLang files → Ruleset, or every fault of all of them. */
import { readFileSync } from 'node:fs'
import type { Marker, Rule, Ruleset, SecLangFault } from '../rule.ts'
import { applyAmendments } from './amendments.ts'
import { directives, refusedDirectives } from './directives.ts'
import { finishRule } from './draft.ts'
import { reportAt, SecLangError } from './faults.ts'
import { offsetOf, positionOf, statements, words, type Statement, type Word } from './lexer.ts'
import { withPlaces } from './places.ts'
import { newReading, type Place, type Reading } from './reading.ts'
import { reasonOf } from '../reason-of.ts'

/** A file to read, or a text that stands for one (then `file` only names it in faults). */
export interface SecLangInput {
  readonly file: string
  readonly text?: string
}

const INCLUDE_DEPTH_MAX = 20

/** Reads all inputs in order. Throws one `SecLangError` with all faults, `known` ones first. */
export function parseSecLang(
  inputs: readonly SecLangInput[],
  known: readonly SecLangFault[] = [],
): Ruleset {
  const { ruleset, faults } = readSecLang(inputs, known)
  if (faults.length > 0) throw new SecLangError(faults)
  return ruleset
}

/** The same for who wants to know all: with faults the ruleset is what could be understood. */
export function readSecLang(
  inputs: readonly SecLangInput[],
  known: readonly SecLangFault[] = [],
): { readonly ruleset: Ruleset; readonly faults: readonly SecLangFault[] } {
  const reading = newReading()
  reading.faults.push(...known)
  for (const input of inputs) readInput(reading, input, [])
  const items = finish(reading)
  const { settings, files, lookups, notices, faults } = reading
  return { ruleset: { items, settings, files, lookups, notices }, faults }
}

function readInput(reading: Reading, input: SecLangInput, stack: readonly string[]): void {
  const text = input.text ?? readText(reading, input.file)
  if (text === null) return
  reading.files.push(input.file)
  for (const statement of statements(text)) {
    readStatement(reading, statement, [...stack, input.file])
  }
  closeChain(reading)
}

function readText(reading: Reading, file: string): string | null {
  try {
    return readFileSync(file, 'latin1')
  } catch (error) {
    const report = reportAt(reading.faults, { file, line: 1 })
    report(`cannot be read: ${reasonOf(error)}`, 'mend the path or its permissions')
    return null
  }
}

function readStatement(reading: Reading, statement: Statement, stack: readonly string[]): void {
  const source = { file: stack.at(-1) ?? '', line: statement.line }
  const report = reportInside(reading.faults, statement, source.file)
  const read = words(statement, report)
  if (read === null) return
  const name = read.directive.toLowerCase()
  if (!['secrule', 'secaction'].includes(name)) closeChain(reading)
  const kind = directives.get(name)
  if (kind === undefined) {
    const mend = refusedDirectives.get(name)
    if (mend !== undefined) report(`${read.directive} is not supported`, mend)
    else report(`unknown directive "${read.directive}"`, 'check its spelling and the line before')
    return
  }
  if (read.words.length < kind.min || read.words.length > kind.max) {
    const wanted = kind.min === kind.max ? `${kind.min}` : `${kind.min} to ${kind.max}`
    report(
      `${read.directive} takes ${wanted} arguments, not ${read.words.length}`,
      'quote arguments that hold blanks with "…"',
    )
    return
  }
  const texts = read.words.map((word) => word.text)
  kind.read(texts, {
    reading,
    source,
    directive: read.directive,
    report,
    reportIn: (index) =>
      reportInside(reading.faults, statement, source.file, read.words[index] ?? null),
    notice: reportInside(reading.notices, statement, source.file),
    include: (files) => includeFiles(reading, files, { report, stack }),
  })
}

/** Offsets are those of the word, or of the statement without one. */
function reportInside(
  faults: SecLangFault[],
  statement: Statement,
  file: string,
  word: Word | null = null,
): Place['report'] {
  const begin = /\S/.exec(statement.text)?.index ?? 0
  return (message, mend, at) => {
    const offset = word === null ? (at ?? begin) : offsetOf(word, at ?? 0)
    faults.push({ file, ...positionOf(statement, offset), message, mend })
  }
}

function includeFiles(
  reading: Reading,
  files: readonly string[],
  from: { readonly report: Place['report']; readonly stack: readonly string[] },
): void {
  for (const file of files) {
    if (from.stack.includes(file) || from.stack.length >= INCLUDE_DEPTH_MAX) {
      from.report(`${file} includes itself or lies too deep`, 'remove the circle')
    } else readInput(reading, { file }, from.stack)
  }
}

function closeChain(reading: Reading): void {
  const last = reading.openChain?.links.at(-1)
  reading.openChain = null
  if (last === undefined) return
  reportAt(reading.faults, last.source)('chain without a next rule', 'add it, or remove chain')
}

function finish(reading: Reading): (Rule | Marker)[] {
  const amended = applyAmendments(reading.items, reading.amendments, (amendment) => {
    reading.notices.push({
      ...amendment.source,
      column: 1,
      message: `${amendment.directive} selects no rule`,
      mend: 'check the id, tag or message',
      doubtful: true,
    })
  })
  const items = amended.map((item) => (item.kind === 'marker' ? item : finishRule(item)))
  checkSkips(items, reading.faults)
  return withPlaces(items, reading)
}

/** Without its marker, `skipAfter` would skip the rest of the phase: a typo disarms the WAF. */
function checkSkips(items: readonly (Rule | Marker)[], faults: SecLangFault[]): void {
  const after = new Set<string>()
  for (const item of items.toReversed()) {
    if (item.kind === 'rule' && item.skipAfter !== '' && !after.has(item.skipAfter)) {
      const report = reportAt(faults, item.source)
      const message = `skipAfter:${item.skipAfter}: no such SecMarker or rule follows`
      report(message, 'mend the name, or add the marker')
    }
    after.add(item.kind === 'marker' ? item.name : String(item.id))
  }
}
