/** `edge mesh export`: lets a device in that is no agent, and prints its configuration, once. */
import { type ForeignPeer, joinForeign, wgQuickText } from '../../mesh/coordinator/foreign.ts'
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

type Format = (peer: ForeignPeer) => string | Promise<string>

const formats: Readonly<Record<string, Format>> = {
  'wg-quick': wgQuickText,
  qr: async (peer) => (await import('../../mesh/coordinator/qr.ts')).qrText(wgQuickText(peer)),
  json: (peer) => JSON.stringify(peer),
}

export async function meshExport(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh export', args, options)
  noPositionals('edge mesh export', positionals)
  const name = nodeName(values.name)
  const { format } = values
  const write = Object.hasOwn(formats, format) ? formats[format] : undefined
  if (write === undefined) {
    throw new UsageError(`--format: "${format}" is none of ${Object.keys(formats).join(', ')}`)
  }
  const state = await openState(required('--state', values.state))
  try {
    const peer = await joinForeign(state, name, Date.now())
    terminal.print(await written(peer, write, () => state.registry.remove(name)))
    return exitCodes.fine
  } finally {
    state.registry.close()
  }
}

/** A configuration that cannot be shown is lost: then nobody is let in, either. */
async function written(peer: ForeignPeer, write: Format, undo: () => void): Promise<string> {
  try {
    return await write(peer)
  } catch (error) {
    undo()
    throw error
  }
}
