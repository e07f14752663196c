/** The program's entry: picks the command, makes exit codes of errors. `run.ts` composes. */
import { readFileSync } from 'node:fs'
import { exitCodes } from './cli/exit-codes.ts'
import { loadConfig } from './cli/load-config.ts'
import { rules } from './cli/rules.ts'
import type { Terminal } from './cli/terminal.ts'
import { usage } from './cli/usage.ts'
import { ConfigError, faultText, nearest, UsageError } from './config/faults.ts'
import { printConfig } from './config/print.ts'
import { rulesetOptions } from './rules.ts'
import { loadCertificates } from './tls/certificates.ts'
import { readUpstreamFiles } from './upstream/upstream-files.ts'

type Command = (args: readonly string[], terminal: Terminal) => number | Promise<number>

const commands: Readonly<Record<string, Command>> = {
  run: runCommand,
  validate: validateCommand,
  rules,
  help: showUsage,
  '--help': showUsage,
  '-h': showUsage,
  '--version': showVersion,
}

function showUsage(_args: readonly string[], terminal: Terminal): number {
  terminal.print(usage.trimEnd())
  return exitCodes.fine
}

function showVersion(_args: readonly string[], terminal: Terminal): number {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  terminal.print(`edge ${/"version": "([^"]+)"/.exec(text)?.[1] ?? 'unknown'}`)
  return exitCodes.fine
}

async function runCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const loaded = loadConfig(args, terminal.env)
  if (loaded.flags.printConfig) {
    terminal.print(printConfig(loaded).trimEnd())
    return exitCodes.fine
  }
  const { config, origins } = loaded
  const sources = { config, origins, env: terminal.env, now: new Date() }
  const { set, caFile, notices } = await loadCertificates(sources)
  const upstreamFiles = readUpstreamFiles(config, origins)
  if (caFile !== null) terminal.error(`edge: the certificate is from the local CA ${caFile}`)
  // Loaded here and not above: the other commands need no addon.
  const { run } = await import('./run.ts')
  const { setupFiles } = rulesetOptions(config)
  return run(
    { ...config, waf: { ...config.waf, setupFiles } },
    { certificates: set, upstreamFiles, notices: [...loaded.notices, ...notices] },
  )
}

async function validateCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  // The SecLang parser and all it needs are of no use to the other commands.
  const { validate } = await import('./cli/validate.ts')
  return validate(args, terminal)
}

/** Runs one command line; the exit code. */
async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = 'help', ...rest] = args
  try {
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (command === undefined) throw new UsageError(unknownCommand(name))
    if (rest.includes('--help') || rest.includes('-h')) return showUsage([], terminal)
    return await command(rest, terminal)
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.error(`edge: ${error.message}\nSee: edge help`)
      return exitCodes.usage
    }
    if (!(error instanceof ConfigError)) throw error
    for (const fault of error.faults) terminal.error(faultText(fault))
    return exitCodes.configInvalid
  }
}

function unknownCommand(name: string): string {
  const meant = nearest(name, Object.keys(commands))
  return `there is no command "${name}"${meant === null ? '' : `; did you mean ${meant}?`}`
}

// `exitCode` and not `exit()`: what is still being written must reach the pipe.
process.exitCode = await main(process.argv.slice(2), {
  env: process.env,
  print: (line) => process.stdout.write(`${line}\n`),
  error: (line) => process.stderr.write(`${line}\n`),
})
