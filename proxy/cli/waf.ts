/** `edge waf …`: one line for each of its commands. */
import { type Commands, commandOf } from './commands.ts'
import type { Terminal } from './terminal.ts'

const commands: Commands = {
  lint: async () => (await import('./waf-lint.ts')).wafLint,
  test: async () => (await import('./waf-test.ts')).wafTest,
  serve: async () => (await import('./waf-serve.ts')).wafServe,
}

/** Runs one of them. */
export async function waf(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '', ...rest] = args
  const command = await commandOf(commands, name, 'edge waf')
  return command(rest, terminal)
}
