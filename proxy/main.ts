/** The program's entry: picks the command, makes exit codes of errors. `run.ts` composes. */
import { readFileSync } from 'node:fs'
import { type Commands, commandOf } from './cli/commands.ts'
import { exitCodes } from './cli/exit-codes.ts'
import type { Terminal } from './cli/terminal.ts'
import { ConfigError, faultText, UsageError } from './config/faults.ts'

// Each loaded when it is asked for: a probe that asks for health every few seconds needs nothing
// of the others.
const commands: Commands = {
  run: async () => (await import('./cli/run.ts')).runCommand,
  validate: async () => (await import('./cli/validate.ts')).validate,
  rules: async () => (await import('./cli/rules.ts')).rules,
  waf: async () => (await import('./cli/waf.ts')).waf,
  explain: async () => (await import('./cli/explain.ts')).explain,
  replay: async () => (await import('./cli/replay.ts')).replay,
  mesh: async () => (await import('./cli/mesh.ts')).mesh,
  gateway: async () => {
    const { mesh } = await import('./cli/mesh.ts')
    return (args, terminal) => mesh(['gateway', ...args], terminal)
  },
  'edgelink-lite': async () => (await import('./cli/edgelink-lite.ts')).edgelinkLite,
  controller: async () => (await import('./cli/controller.ts')).controller,
  health: async () => (await import('./cli/health.ts')).health,
  help: () => showUsage,
  '--help': () => showUsage,
  '-h': () => showUsage,
  '--version': () => showVersion,
}

async function showUsage(_args: readonly string[], terminal: Terminal): Promise<number> {
  const { usage } = await import('./cli/usage.ts')
  terminal.print(usage.trimEnd())
  return exitCodes.fine
}

function showVersion(_args: readonly string[], terminal: Terminal): number {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  terminal.print(`edge ${/"version": "([^"]+)"/.exec(text)?.[1] ?? 'unknown'}`)
  return exitCodes.fine
}

/** Runs one command line; the exit code. */
async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = 'help', ...rest] = args
  try {
    const command = await commandOf(commands, name)
    if (rest.includes('--help') || rest.includes('-h')) return await showUsage([], terminal)
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

// A reader that has seen enough (`| head`), or a log's that is gone, ends no command.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

// `exitCode` and not `exit()`: what is still being written must reach the pipe.
process.exitCode = await main(process.argv.slice(2), {
  env: process.env,
  print: (line) => process.stdout.write(`${line}\n`),
  error: (line) => process.stderr.write(`${line}\n`),
  colors: process.stdout.isTTY,
})
