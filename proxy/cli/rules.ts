/** `edge rules`, `edge rules path`, `edge rules install`. */
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError } from '../config/faults.ts'
import { InstallError, installRules } from '../rules-install.ts'
import { crsVersion, installedRules, rulesFolder } from '../rules.ts'
import { exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

/** Runs one of the three. */
export async function rules(args: readonly string[], terminal: Terminal): Promise<number> {
  const [command = 'show', ...rest] = args
  if (command === 'install') return install(rest, terminal)
  if (rest.length > 0 || (command !== 'show' && command !== 'path')) {
    throw new UsageError(`edge rules has no command "${args.join(' ')}"; there is install and path`)
  }
  const current = installedRules(terminal.env)
  if (current === null) {
    terminal.error('no rules are installed; run: ./edge rules install')
    return exitCodes.foundProblems
  }
  terminal.print(command === 'path' ? current : description(current))
  return exitCodes.fine
}

function description(folder: string): string {
  const files = readdirSync(join(folder, 'rules')).filter((name) => name.endsWith('.conf'))
  return `OWASP CRS ${crsVersion(folder) ?? 'of unknown version'}, ${files.length} files: ${folder}`
}

async function install(args: readonly string[], terminal: Terminal): Promise<number> {
  const { from, to } = installFlags(args)
  try {
    const { folder, version } = await installRules({
      from: from === undefined ? null : resolve(from),
      to: to === undefined ? rulesFolder(terminal.env) : resolve(to),
      log: (line) => terminal.error(`rules: ${line}`),
    })
    terminal.print(`rules: OWASP CRS ${version} is installed in ${folder}`)
    return exitCodes.fine
  } catch (error) {
    if (!(error instanceof InstallError)) throw error
    terminal.error(`rules: ${error.message}`)
    return exitCodes.failure
  }
}

function installFlags(args: readonly string[]): { from?: string; to?: string } {
  const options = { from: { type: 'string' }, to: { type: 'string' } } as const
  try {
    return parseArgs({ args: [...args], options, strict: true }).values
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new UsageError(error.message, { cause: error })
  }
}
