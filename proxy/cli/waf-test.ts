/** `edge waf test`: go-ftw's regression cases against rules alone, or against a server. */
import { fileURLToPath } from 'node:url'
import { UsageError } from '../config/faults.ts'
import { bareHost } from '../host-port.ts'
import { type RegressionCase, readCases } from '../regression/cases.ts'
import { LogTail } from '../regression/log-tail.ts'
import { type HttpVersion, LineBuffer, offlineTarget } from '../regression/offline-target.ts'
import { noOverrides, readOverrides } from '../regression/overrides.ts'
import { type NotRun, type RunReport, type Target, runCases } from '../regression/run.ts'
import { serverTarget } from '../regression/server-target.ts'
import {
  type ServerAddress,
  Unreachable,
  h1Transport,
  h2Transport,
} from '../regression/transports.ts'
import { exitCodes } from './exit-codes.ts'
import { parseFlags } from './parse-flags.ts'
import { openEngine, ruleFlags, ruleSource } from './rule-source.ts'
import type { Terminal } from './terminal.ts'

const options = {
  ...ruleFlags,
  overrides: { type: 'string' },
  connect: { type: 'string' },
  http: { type: 'string' },
  log: { type: 'string' },
  include: { type: 'string' },
  crs: { type: 'boolean' },
  json: { type: 'boolean' },
} as const

const crsCases = fileURLToPath(new URL('../regression/crs-cases.conf', import.meta.url))

type Flags = ReturnType<typeof readFlags>['values']

function readFlags(args: readonly string[]) {
  return parseFlags('edge waf test', args, options)
}

/** Runs the cases and prints what failed. */
export async function wafTest(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = readFlags(args)
  if (positionals.length === 0) throw new UsageError('edge waf test needs a FILE or DIR of cases')
  const version = versionOf(values.http)
  const filter = includeOf(values.include)
  checkTogether(values)
  const cases = readCases(positionals).filter((one) => filter.test(one.id))
  if (cases.length === 0) throw new UsageError('no case is chosen by these files and --include')
  const overrides = values.overrides === undefined ? noOverrides : readOverrides(values.overrides)
  const target = openTarget(values, version, terminal)
  let report: RunReport
  try {
    report = await runCases(cases, target, overrides)
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    terminal.error(`edge waf test: ${error.message}`)
    return exitCodes.failure
  } finally {
    target.close()
  }
  if (values.json === true) terminal.print(JSON.stringify(jsonOf(report, version), null, 2))
  else printReport(report, { version, cases, overrides: overrides.count }, terminal)
  return report.failed.length === 0 ? exitCodes.fine : exitCodes.foundProblems
}

function versionOf(text = '1.1'): HttpVersion {
  if (text === '1.1' || text === '2' || text === '3') return text
  throw new UsageError(`--http takes 1.1, 2 or 3, not "${text}"`)
}

function includeOf(text = ''): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new UsageError(`--include is no regular expression: ${text}`, { cause: error })
  }
}

/** Flags that mean nothing together are a mistake, not a detail. */
function checkTogether(values: Flags): void {
  if (values.connect === undefined) {
    if (values.log !== undefined) throw new UsageError('--log needs --connect')
    return
  }
  const local = ['config', 'rules', 'paranoia', 'waf-setup', 'crs'] as const
  const wrong = local.find((name) => values[name] !== undefined)
  if (wrong !== undefined) throw new UsageError(`the server has its own rules: not --${wrong}`)
  if (values.http === '3') {
    const message = 'this program has no HTTP/3 client: with --connect use --http 1.1 or 2'
    throw new UsageError(message)
  }
}

function openTarget(values: Flags, version: HttpVersion, { env }: Terminal): Target {
  if (values.connect !== undefined) {
    const address = addressOf(values.connect)
    const transport = version === '2' ? h2Transport(address) : h1Transport(address)
    return serverTarget(transport, values.log === undefined ? null : new LogTail(values.log))
  }
  const setup = [...(values.crs === true ? [crsCases] : []), ...(values['waf-setup'] ?? [])]
  const source = ruleSource({ ...values, 'waf-setup': setup }, env)
  const lines = new LineBuffer()
  const engine = openEngine(source, { mode: 'detect', log: lines })
  return offlineTarget(engine, { version, lines, refuse: source.config.policy.refuse })
}

/** `HOST:PORT`, or an http or https URL. */
function addressOf(text: string): ServerAddress {
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `http://${text}`)
  const wrong = url === null || url.pathname !== '/' || url.search !== ''
  if (wrong) throw new UsageError(`--connect takes HOST:PORT or an http(s) URL, not "${text}"`)
  const tls = url.protocol === 'https:'
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port)
  return { host: bareHost(url.hostname), port, tls }
}

interface Run {
  readonly version: HttpVersion
  readonly cases: readonly RegressionCase[]
  readonly overrides: number
}

function printReport(report: RunReport, run: Run, { print }: Terminal): void {
  for (const { id, file, stage, expected, seen } of report.failed) {
    print(`FAIL ${id} stage ${stage}: expected ${expected}; seen: ${seen}\n  ${file}`)
  }
  for (const [reason, count] of byReason(report.notCarried)) {
    print(`not carried by HTTP/${run.version}: ${count} × ${reason}`)
  }
  for (const [reason, count] of byReason(report.ignored)) print(`ignored: ${count} × ${reason}`)
  const { passed, failed, notCarried, ignored } = report
  print(
    `${run.cases.length} cases: ${passed.length} passed, ${failed.length} failed, ` +
      `${notCarried.length} not carried by HTTP/${run.version}, ${ignored.length} ignored, ` +
      `${run.overrides} overrides`,
  )
}

function byReason(list: readonly NotRun[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { reason } of list) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return counts
}

function jsonOf(report: RunReport, version: HttpVersion) {
  return {
    http: version,
    passed: report.passed.length,
    failed: report.failed,
    notCarried: report.notCarried,
    ignored: report.ignored,
  }
}
