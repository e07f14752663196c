/** How a node is in the mesh: with an interface of the system, or without any privilege. */
import { type Device, type DeviceOptions, openDevice } from './device.ts'
import { MeshFault } from './fault.ts'
import type { Log } from './log.ts'

/** `tun`: an interface. `netstack`: a stack in the agent, which programs dial through. */
export const meshModes = ['tun', 'netstack'] as const
export type MeshMode = (typeof meshModes)[number]

/** What `--mode` can be. */
export const wantedModes = ['auto', ...meshModes] as const
export type WantedMode = (typeof wantedModes)[number]

/** What a device of each mode needs. */
export interface ModeOptions extends Omit<DeviceOptions, 'mode'> {
  readonly wanted: WantedMode
  readonly log: Log
}

/** A device, and the mode that it came to. */
export interface OpenedMode {
  readonly device: Device
  readonly mode: MeshMode
}

/** What the system has to give for an interface; without it there is another way. */
const isPrivilege = (error: unknown): error is MeshFault =>
  error instanceof MeshFault && ['NO_TUN', 'NOT_PERMITTED'].includes(error.code)

/** Opens a device in the wanted mode; `auto` takes the first that the system allows. */
export async function openMode({ wanted, log, ...options }: ModeOptions): Promise<OpenedMode> {
  if (wanted !== 'auto')
    return { device: await openDevice({ ...options, mode: wanted }), mode: wanted }
  try {
    const device = await openDevice({ ...options, mode: 'tun' })
    log.info({ mode: 'tun' }, 'the mode of the mesh: the system gives an interface')
    return { device, mode: 'tun' }
  } catch (error) {
    if (!isPrivilege(error)) throw error
    const reason = `${error.where}: ${error.message}`
    const device = await openDevice({ ...options, mode: 'netstack' })
    log.info({ mode: 'netstack', reason }, 'the mode of the mesh: no interface can be had')
    return { device, mode: 'netstack' }
  }
}
