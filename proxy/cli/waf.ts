/** `edge waf …`: one line for each of its commands. */
import { UsageError, nearest } from '../config/faults.ts'
import type { Terminal } from './terminal.ts'

type Command = (args: readonly string[], terminal: Terminal) => Promise<number>

/** Loaded when they are called: each needs the addon, or a server. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  lint: async () => (await import('./waf-lint.ts')).wafLint,
  test: async () => (await import('./waf-test.ts')).wafTest,
  serve: async () => (await import('./waf-serve.ts')).wafServe,
}

/** Runs one of them. */
export async function waf(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '', ...rest] = args
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) {
    const names = Object.keys(commands)
    const meant = nearest(name, names)
    const hint = meant === null ? '' : `; did you mean ${meant}?`
    throw new UsageError(`edge waf has no command "${name}": ${names.join(', ')}${hint}`)
  }
  const command = await load()
  return command(rest, terminal)
}
