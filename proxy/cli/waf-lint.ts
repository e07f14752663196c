/** `edge waf lint`: what there is to say of SecLang files, without a server. */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { compile } from '../../waf/compile/compile.ts'
import { lint, type Finding, type LintReport } from '../../waf/lint/lint.ts'
import { compileScanPlan, dropPlans } from '../../waf/scanner.ts'
import { rulesetInputs, type RulesetOptions } from '../../waf/seclang/load.ts'
import type { Environment } from '../config/environment.ts'
import { ConfigError, UsageError } from '../config/faults.ts'
import { rulesetOptions } from '../rules.ts'
import { exitCodes } from './exit-codes.ts'
import { loadConfig } from './load-config.ts'
import type { Terminal } from './terminal.ts'
import { reasonOf } from '../../waf/reason-of.ts'

/** Prints every finding; exit code 3 when there is an error or a warning. */
export async function wafLint(args: readonly string[], terminal: Terminal): Promise<number> {
  const { rules, files, json } = readArguments(args)
  const options = optionsOf(rules, files, terminal.env)
  const { inputs, faults } = rulesetInputs(options)
  const report = lint({
    inputs,
    faults,
    // Our own settings are read first, as when the proxy runs; they are not the user's to mend.
    silent: files.includes(options.baseFile) ? [] : [options.baseFile],
    compile: (ruleset) => dropPlans(compile(ruleset, compileScanPlan)),
  })
  if (json) terminal.print(JSON.stringify(report, null, 2))
  else printReport(report, terminal)
  const grave = report.findings.some(({ level }) => level !== 'notice')
  return grave ? exitCodes.foundProblems : exitCodes.fine
}

interface Arguments {
  readonly rules: string | null
  readonly files: readonly string[]
  readonly json: boolean
}

function readArguments(args: readonly string[]): Arguments {
  const options = { rules: { type: 'string' }, json: { type: 'boolean' } } as const
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true })
    const rules = values.rules === undefined ? null : resolve(values.rules)
    return { rules, files: positionals.map((file) => resolve(file)), json: values.json === true }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new UsageError(`edge waf lint [--rules DIR] [FILES…] [--json]: ${error.message}`, {
      cause: error,
    })
  }
}

/** Files alone are judged alone; without any, the installed rules are. */
function optionsOf(
  rules: string | null,
  files: readonly string[],
  env: Environment,
): RulesetOptions {
  for (const file of [...files, ...(rules === null ? [] : [rules])]) mustBeReadable(file)
  const installed = rulesetOptions(loadConfig([], env).config)
  const base = { ...installed, paranoia: null, setupFiles: [] }
  if (rules !== null && existsSync(join(rules, 'rules'))) {
    const { setupFiles } = rulesetOptions(loadConfig(['--rules', rules], env).config)
    return { ...base, crsDirectory: rules, setupFiles, ruleFiles: files }
  }
  if (rules !== null) {
    return { ...base, crsDirectory: null, ruleFiles: [...secLangFiles(rules), ...files] }
  }
  if (files.length > 0) return { ...base, crsDirectory: null, ruleFiles: files }
  if (installed.crsDirectory !== null) return { ...installed, paranoia: null }
  const mend = 'name files or a folder with --rules, or run: edge rules install'
  throw new ConfigError([{ where: 'edge waf lint', message: 'there are no rules', mend }])
}

function mustBeReadable(path: string): void {
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    const reason = reasonOf(error)
    const fault = { where: path, message: `cannot be read: ${reason}`, mend: 'mend the path' }
    throw new ConfigError([fault])
  }
}

/** A folder of SecLang that is no CRS. */
function secLangFiles(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.conf'))
  if (names.length === 0) {
    const mend = 'name a folder with *.conf, or one with rules/*.conf'
    throw new ConfigError([{ where: folder, message: 'there is no *.conf', mend }])
  }
  return names.toSorted().map((name) => join(folder, name))
}

function printReport({ findings, rules, files }: LintReport, terminal: Terminal): void {
  for (const finding of findings) terminal.print(lineOf(finding))
  const count = (level: Finding['level']): string => {
    const found = findings.filter((finding) => finding.level === level).length
    return `${found} ${level}${found === 1 ? '' : 's'}`
  }
  const found = `${count('error')}, ${count('warning')}, ${count('notice')}`
  terminal.print(`${rules} rules in ${files} files: ${found}`)
}

function lineOf({ file, line, column, level, message, mend }: Finding): string {
  return `${file}:${line}:${column}: ${level}: ${message}; ${mend}`
}
