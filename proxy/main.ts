/** The program's entry: picks the command, makes exit codes of errors. `run.ts` composes. */
import { readFileSync } from 'node:fs'
import { exitCodes } from './cli/exit-codes.ts'
import { configFileOf, loadConfig } from './cli/load-config.ts'
import { rules } from './cli/rules.ts'
import type { Terminal } from './cli/terminal.ts'
import { usage } from './cli/usage.ts'
import { waf } from './cli/waf.ts'
import { ConfigError, faultText, nearest, UsageError } from './config/faults.ts'
import { readFlags } from './config/flags.ts'
import { printConfig } from './config/print.ts'
import { readLastGood, saveLastGood } from './last-good.ts'
import { type Loaded, load } from './load.ts'
import { listenToSignals } from './signals.ts'

type Command = (args: readonly string[], terminal: Terminal) => number | Promise<number>

const commands: Readonly<Record<string, Command>> = {
  run: runCommand,
  validate: validateCommand,
  rules,
  waf,
  explain: explainCommand,
  replay: replayCommand,
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
  if (readFlags(args).printConfig) {
    terminal.print(printConfig(loadConfig(args, terminal.env)).trimEnd())
    return exitCodes.fine
  }
  const signals = listenToSignals()
  const { loaded, replaced } = await loadFirst(args, terminal)
  const { caFile } = loaded
  if (caFile !== null) terminal.error(`edge: the certificate is from the local CA ${caFile}`)
  // Loaded here and not above: the other commands need no addon.
  const { run } = await import('./run.ts')
  return run(loaded, {
    env: terminal.env,
    signals,
    replaced,
    load: () => load(args, terminal.env),
    onTaken: (taken) => keep(taken, terminal),
  })
}

/** The configuration; with `--last-good`, the last good one where this one is broken. */
async function loadFirst(args: readonly string[], terminal: Terminal) {
  try {
    const loaded = await load(args, terminal.env)
    // Without `--last-good` the rules are judged where they are compiled.
    if (loaded.flags.lastGood) await judgeRules(loaded)
    return { loaded, replaced: [] }
  } catch (error) {
    const flags = readFlags(args)
    const file = configFileOf(flags, terminal.env)
    if (!(error instanceof ConfigError) || !flags.lastGood || file === null) throw error
    const text = readLastGood(file, terminal.env)
    if (text === null) throw error
    const loaded = await load(args, terminal.env, text)
    const replaced = error.faults.map(faultText)
    for (const text of replaced) terminal.error(text)
    terminal.error('edge: starting with the last good configuration instead')
    return { loaded, replaced }
  }
}

async function judgeRules(loaded: Loaded): Promise<void> {
  const { ruleFaults } = await import('./cli/validate.ts')
  const faults = ruleFaults(loaded)
  if (faults.length > 0) throw new ConfigError(faults)
}

/** Only what came from a file can break without anybody at hand. */
function keep({ file }: Loaded, terminal: Terminal): void {
  if (file === null) return
  try {
    saveLastGood(file.path, file.text, terminal.env)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    terminal.error(`edge: the last good configuration is not kept: ${reason}`)
  }
}

async function validateCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  // The SecLang parser and all it needs are of no use to the other commands.
  const { validate } = await import('./cli/validate.ts')
  return validate(args, terminal)
}

async function explainCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const { explain } = await import('./cli/explain.ts')
  return explain(args, terminal)
}

async function replayCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  const { replay } = await import('./cli/replay.ts')
  return replay(args, terminal)
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
  colors: process.stdout.isTTY,
})
