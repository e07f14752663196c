/** `edge mesh export`: lets a device in that is no agent, and prints its configuration, once. */
import { joinForeign, wgQuickText } from '../../mesh/coordinator/foreign.ts'
import { openState } from '../../mesh/coordinator/state.ts'
import { UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { nodeName, required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  state: { type: 'string' },
  name: { type: 'string' },
  format: { type: 'string', default: 'wg-quick' },
} as const

export async function meshExport(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh export', args, options)
  noPositionals('edge mesh export', positionals)
  const name = nodeName(values.name)
  const { format } = values
  if (format !== 'wg-quick' && format !== 'json') {
    throw new UsageError(`--format: "${format}" is neither wg-quick nor json`)
  }
  const state = await openState(required('--state', values.state))
  try {
    const peer = await joinForeign(state, name, Date.now())
    terminal.print(format === 'json' ? JSON.stringify(peer) : wgQuickText(peer))
    return exitCodes.fine
  } finally {
    state.registry.close()
  }
}
