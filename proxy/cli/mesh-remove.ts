/** `edge mesh remove NAME`: takes a node out of the mesh; also beside a running coordinator. */
import { openState } from '../../mesh/coordinator/state.ts'
import { UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { required } from './mesh-flags.ts'
import { parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = { state: { type: 'string' } } as const

export async function meshRemove(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh remove', args, options)
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0) throw new UsageError('edge mesh remove NAME')
  const { registry } = await openState(required('--state', values.state))
  try {
    registry.revoke(name, Date.now())
    terminal.print(`removed ${name}`)
    return exitCodes.fine
  } finally {
    registry.close()
  }
}
