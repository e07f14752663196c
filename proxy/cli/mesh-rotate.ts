/** `edge mesh rotate`: asks the agent of a folder to change its WireGuard key. */
import { askRotation } from '../../mesh/rotation.ts'
import { exitCodes } from './exit-codes.ts'
import { stateFolder } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = { state: { type: 'string' } } as const

export async function meshRotate(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh rotate', args, options)
  noPositionals('edge mesh rotate', positionals)
  askRotation(stateFolder(values.state, terminal))
  terminal.print(
    'the agent changes its key now, or when it runs, or an hour after its last change; see its log',
  )
  return exitCodes.fine
}
