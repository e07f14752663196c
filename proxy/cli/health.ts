/** `edge health`: whether the program on this machine is ready; what an `exec` probe runs. */
import { type Answer, ask, isAdminAddress, Unreachable } from '../admin/ask.ts'
import { UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = { admin: { type: 'string' }, live: { type: 'boolean' } } as const

// Less than the probes of any supervisor give a command.
const timeoutMs = 4_000

/** Asks; exit code 0 when ready (`--live`: when it answers at all), 1 when not. */
export async function health(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge health', args, options)
  noPositionals('edge health', positionals)
  const address = values.admin ?? terminal.env['EDGE_ADMIN'] ?? ''
  if (!isAdminAddress(address)) {
    throw new UsageError('where to ask? --admin ADDR:PORT or unix:PATH (or EDGE_ADMIN)')
  }
  try {
    const isLive = values.live === true
    const answer = await ask(address, isLive ? '/livez?verbose' : '/readyz?verbose', timeoutMs)
    return report(answer, isLive ? 'alive' : 'ready', terminal)
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    terminal.error(`not ready: ${error.message}`)
    return exitCodes.failure
  }
}

/** One line: a supervisor shows it in its events. */
function report({ status, body }: Answer, fine: string, terminal: Terminal): number {
  if (status === 200) {
    terminal.print(fine)
    return exitCodes.fine
  }
  const failing = body.split('\n').filter((line) => line.startsWith('[-]'))
  const why = failing.map((line) => line.slice('[-]'.length)).join(', ')
  terminal.error(`not ${fine}: ${why === '' ? `status ${status}` : why}`)
  return exitCodes.failure
}
