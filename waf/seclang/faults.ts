/** How SecLang faults are collected: every reader reports into one list and reads on. */
import type { SecLangFault, Source } from '../rule.ts'

/**
 * Reports one fault of the text being read: what is wrong, how to mend it, and where it is, as an
 * offset in that text.
 */
export type Report = (message: string, mend: string, at?: number) => void

/** All faults of all files, thrown together, so that one run shows everything there is to mend. */
export class SecLangError extends Error {
  readonly faults: readonly SecLangFault[]

  constructor(faults: readonly SecLangFault[]) {
    super(faults.map(formatFault).join('\n'))
    this.name = 'SecLangError'
    this.faults = faults
  }
}

/** One line for a terminal: `rules/my.conf:12:9: unknown operator @foo; use …`. */
function formatFault(fault: SecLangFault): string {
  return `${fault.file}:${fault.line}:${fault.column}: ${fault.message}; ${fault.mend}`
}

/** A `Report` that adds to `faults` what it is told, at the line of `source`. */
export function reportAt(faults: SecLangFault[], source: Source): Report {
  return (message, mend) => {
    faults.push({ file: source.file, line: source.line, column: 1, message, mend })
  }
}

/** The same report with a fixed place: for checks that know nothing of places. */
export function placed(report: Report, at: number): Report {
  return (message, mend) => report(message, mend, at)
}
