/** `edge rules`, `edge rules path`, `edge rules install`, `edge rules list`. */
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { UsageError } from '../config/faults.ts'
import { InstallError, installRules } from '../rules-install.ts'
import { crsVersion, installedRules, rulesFolder } from '../rules.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

/** Runs one of them. */
export async function rules(args: readonly string[], terminal: Terminal): Promise<number> {
  const [command = 'show', ...rest] = args
  if (command === 'install') return install(rest, terminal)
  if (command === 'list') {
    // The SecLang parser and all it needs are of no use to the others.
    const { rulesList } = await import('./rules-list.ts')
    return rulesList(rest, terminal)
  }
  if (rest.length > 0 || (command !== 'show' && command !== 'path')) {
    const known = 'there is install, list and path'
    throw new UsageError(`edge rules has no command "${args.join(' ')}"; ${known}`)
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
  const { values, positionals } = parseFlags('edge rules install', args, options)
  noPositionals('edge rules install', positionals)
  return values
}
