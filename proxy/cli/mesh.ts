/** `edge mesh …`: one line for each of its commands. */
import { MeshFault } from '../../mesh/fault.ts'
import { faultText, nearest, UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

type Command = (args: readonly string[], terminal: Terminal) => Promise<number>

/** Loaded when they are called: some need the addon, some a server. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  coordinator: async () => (await import('./mesh-coordinator.ts')).meshCoordinator,
  token: async () => (await import('./mesh-token.ts')).meshToken,
  up: async () => (await import('./mesh-up.ts')).meshUp,
  status: async () => (await import('./mesh-status.ts')).meshStatus,
  export: async () => (await import('./mesh-export.ts')).meshExport,
  remove: async () => (await import('./mesh-remove.ts')).meshRemove,
}

/** Runs one of them. */
export async function mesh(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '', ...rest] = args
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) {
    const names = Object.keys(commands)
    const meant = nearest(name, names)
    const hint = meant === null ? '' : `; did you mean ${meant}?`
    throw new UsageError(`edge mesh has no command "${name}": ${names.join(', ')}${hint}`)
  }
  const command = await load()
  try {
    return await command(rest, terminal)
  } catch (error) {
    if (!(error instanceof MeshFault)) throw error
    terminal.error(`edge mesh ${name}: ${faultText(error)}`)
    return exitCodes.failure
  }
}
