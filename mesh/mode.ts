/** How a node is in the mesh: who carries its packets, and what that needs. */
import { type Device, type DeviceOptions, openDevice } from './device.ts'
import { MeshFault } from './fault.ts'
import type { Log } from './log.ts'
import { knowsRelays } from './relays.ts'

/**
 * In the order of preference. `kernel`: the kernel's own WireGuard, which needs the least of the
 * processor and goes on while the agent is away. `tun`: an interface that this program serves.
 * `netstack`: a stack in the agent, which programs dial through, and no privilege at all.
 */
export const meshModes = ['kernel', 'tun', 'netstack'] as const
export type MeshMode = (typeof meshModes)[number]

/** What `--mode` can be. */
export const wantedModes = ['auto', ...meshModes] as const
export type WantedMode = (typeof wantedModes)[number]

/** What a device of each mode needs. */
export interface ModeOptions extends Omit<DeviceOptions, 'mode'> {
  readonly wanted: WantedMode
  readonly log: Log
  /** Others may have to be reached through relays, or through this node: the kernel knows none. */
  readonly needsRelays?: boolean
  /** Opens a device; of the addon, unless a test has its own. */
  readonly open?: typeof openDevice
}

/** A device, and the mode that it came to. */
export interface OpenedMode {
  readonly device: Device
  readonly mode: MeshMode
}

/** Those whose device can reach others through relays, and be one. */
const withRelays = meshModes.filter((mode) => knowsRelays(mode))

/** What the system lacks or does not permit; the next mode may need less. */
const lacks: ReadonlySet<string> = new Set(['NO_MODULE', 'NO_TUN', 'NOT_PERMITTED'])

/** Opens a device in the wanted mode; `auto` takes the first that the system allows. */
export async function openMode({
  wanted,
  log,
  needsRelays = false,
  open = openDevice,
  ...options
}: ModeOptions): Promise<OpenedMode> {
  if (wanted !== 'auto') {
    return { device: await open(settingsFor(wanted, options)), mode: wanted }
  }
  const reasons: string[] = []
  if (needsRelays) reasons.push('kernel: it knows no relays, and this node may need them or be one')
  for (const mode of needsRelays ? withRelays : meshModes) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next one only if this one cannot be had
      const device = await open(settingsFor(mode, options))
      const why = mode === 'netstack' ? ': no interface can be had' : ''
      log.info({ mode, reasons }, `the mode of the mesh${why}`)
      return { device, mode }
    } catch (error) {
      if (!(error instanceof MeshFault) || !isPassed(mode, error.code)) throw error
      reasons.push(`${mode}: ${error.where}: ${error.message}`)
    }
  }
  const message = reasons.join('; ')
  throw new MeshFault('NO_MODE', { where: '--mode', message, mend: 'see: edge mesh doctor' })
}

/** A stack's packets need no mark, and to set one takes the privilege that it does without. */
function settingsFor(
  mode: MeshMode,
  { mark, ...options }: Omit<DeviceOptions, 'mode'>,
): DeviceOptions {
  return { ...options, mode, ...(mark === undefined || mode === 'netstack' ? {} : { mark }) }
}

/** A kernel that is none of Linux may refuse its own device in any words; tun asks for less. */
function isPassed(mode: MeshMode, code: string): boolean {
  return lacks.has(code) || (mode === 'kernel' && code === 'SYSTEM')
}

/** What a mode adds to why a peer is not reached; empty: nothing. */
export function pathWord(mode: MeshMode): string {
  return mode === 'kernel' ? '; mode kernel has no relay (--mode tun has one)' : ''
}
