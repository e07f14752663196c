/** The way from this machine to the coordinator: what stays outside the tunnel, what fits. */
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { linkMtu } from './device.ts'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'

/** Where the coordinator is, and what fits through the way to it. */
export interface Path {
  readonly addresses: readonly string[]
  readonly mtu: number
}

/** What fits through an Ethernet, and what every other node's device takes. */
const mtuDefault = 1_420

/** `mtu` null: what the way lets through. */
export async function pathTo(
  coordinator: string,
  { mtu, log }: { readonly mtu: number | null; readonly log: Log },
): Promise<Path> {
  const host = new URL(coordinator).hostname.replace(/^\[(.*)\]$/, '$1')
  const found = await lookup(host, { all: true }).catch(() => [])
  const addresses = found.map(({ address }) => address)
  const links = await Promise.all(addresses.map((address) => linkMtu(address)))
  // The loopback's is no link's.
  const least = Math.min(...links.filter((link) => link !== null && link < 65_536).map(Number))
  const { mtuMin, tunnelOverheadBytes } = meshLimits
  const fits = least - tunnelOverheadBytes
  if (mtu !== null && mtu > fits) {
    throw new MeshFault('MTU_INVALID', {
      where: '--mtu',
      message: `${mtu} and ${tunnelOverheadBytes} bytes around do not fit into the link's ${least}`,
      mend: `write at most ${fits}, or leave the flag away`,
    })
  }
  const chosen = mtu ?? Math.max(mtuMin, Math.min(mtuDefault, fits))
  log.info({ mtu: chosen, link: Number.isFinite(least) ? least : null }, 'the MTU of the mesh')
  return { addresses, mtu: chosen }
}

/** Whether others see this machine under an address that it has: no NAT is between. */
export function isOwnAddress(observed: string | null): boolean {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return own.some(({ address }) => address === observed)
}
