/** `edge mesh …`: one line for each of its commands. */
import { MeshFault } from '../../mesh/fault.ts'
import { faultText } from '../config/faults.ts'
import { type Commands, commandOf } from './commands.ts'
import { exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

const commands: Commands = {
  coordinator: async () => (await import('./mesh-coordinator.ts')).meshCoordinator,
  token: async () => (await import('./mesh-token.ts')).meshToken,
  join: async () => (await import('./mesh-join.ts')).meshJoin,
  up: async () => (await import('./mesh-up.ts')).meshUp,
  status: async () => (await import('./mesh-status.ts')).meshStatus,
  doctor: async () => (await import('./mesh-doctor.ts')).meshDoctor,
  rotate: async () => (await import('./mesh-rotate.ts')).meshRotate,
  export: async () => (await import('./mesh-export.ts')).meshExport,
  gateway: async () => (await import('./mesh-gateway.ts')).meshGateway,
  'gateway-agent': async () => (await import('./mesh-gateway-agent.ts')).meshGatewayAgent,
  remove: async () => (await import('./mesh-remove.ts')).meshRemove,
}

/** Runs one of them. */
export async function mesh(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '', ...rest] = args
  const command = await commandOf(commands, name, 'edge mesh')
  try {
    return await command(rest, terminal)
  } catch (error) {
    if (!(error instanceof MeshFault)) throw error
    terminal.error(`edge mesh ${name}: ${faultText(error)}`)
    return exitCodes.failure
  }
}
