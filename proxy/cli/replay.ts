/** `edge replay FILE`: what a ruleset would block of the requests in a log. */
import { UsageError } from '../config/faults.ts'
import { defaultLogLimits, openLog } from '../replay/read-log.ts'
import { type ReplayReport, replayLog } from '../replay/replay.ts'
import { exitCodes } from './exit-codes.ts'
import { parseFlags } from './parse-flags.ts'
import { openEngine, ruleFlags, ruleSource } from './rule-source.ts'
import type { Terminal } from './terminal.ts'

const options = { ...ruleFlags, json: { type: 'boolean' }, top: { type: 'string' } } as const

/** Findings that are printed when `--top` does not say. */
const topDefault = 50

/** Runs the requests of one file through the rules. */
export async function replay(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge replay', args, options)
  const [file, more] = positionals
  if (file === undefined || more !== undefined) throw new UsageError('edge replay takes one FILE')
  const top = topOf(values.top)
  const source = ruleSource(values, terminal.env)
  const { format, entries } = await openLog(file, defaultLogLimits)
  const engine = openEngine(source, { mode: 'block' })
  let report: ReplayReport
  try {
    report = await replayLog(entries, engine)
  } finally {
    engine.close()
  }
  if (values.json === true) terminal.print(JSON.stringify({ file, format, ...report }, null, 2))
  else printReport(report, { file, format, top }, terminal)
  return report.wouldBlock > 0 ? exitCodes.foundProblems : exitCodes.fine
}

function topOf(text: string | undefined): number {
  if (text === undefined) return topDefault
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new UsageError(`--top takes a number, not "${text}"`)
}

interface Shown {
  readonly file: string
  readonly format: string
  readonly top: number
}

function printReport(report: ReplayReport, shown: Shown, { print, error }: Terminal): void {
  for (const { line, reason } of report.faults) error(`${shown.file}:${line}: ${reason}`)
  const untold = report.unread - report.faults.length
  if (untold > 0) error(`${shown.file}: ${untold} more that could not be read`)
  for (const finding of report.findings.slice(0, shown.top)) {
    const { rule, path, parameter, requests, message, example } = finding
    print(`${requests} × rule ${rule} at ${path} ${parameter}: ${message}`)
    print(`    line ${example.line}: ${example.request}`)
    if (example.value !== '') print(`    value: ${example.value}`)
  }
  const rest = report.findings.length - shown.top
  if (rest > 0) print(`… and ${rest} more findings (--top, or --json for all)`)
  if (report.findingsOverMax) print('… and more kinds of findings than are kept (findingsMax)')
  print(
    `${report.requests} requests (${shown.format}): ${report.wouldBlock} would be blocked, ` +
      `${report.notInspected} not inspected in time, ${report.unread} could not be read`,
  )
  if (shown.format === 'common' || shown.format === 'access') {
    print('This log has neither bodies nor most headers: only what it holds was inspected.')
  }
}
