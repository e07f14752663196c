/** The way from this machine to the coordinator: what stays outside the tunnel, what fits. */
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { linkMtu } from './device.ts'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { contains, hostPrefix, parseAddress, parsePrefix } from './prefix.ts'

/** Ranges that nobody reaches from elsewhere (RFC 1918, 3927, 6598, 4193, 4291). */
const localRanges = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::1/128',
  'fc00::/7',
  'fe80::/10',
].flatMap((text) => parsePrefix(text) ?? [])

/** Where the coordinator is, and what fits through the way to it. */
export interface Path {
  readonly addresses: readonly string[]
  readonly mtu: number
}

/** What fits through an Ethernet, and what every other node's device takes. */
const mtuDefault = 1_420
/** Any port will do to ask for a route. */
const discardPort = 9

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

/** Whether a way that begins at one address and ends at another has to lead through a NAT. */
export function isThroughNat(own: string, coordinator: string): boolean {
  return isLocal(own) && !isLocal(coordinator)
}

function isLocal(text: string): boolean {
  const address = parseAddress(text)
  return address !== null && localRanges.some((range) => contains(range, hostPrefix(address)))
}

/** Whether the ways to these addresses lead through a NAT, as far as this machine can see. */
export async function leadsThroughNat(addresses: readonly string[]): Promise<boolean> {
  const found = await Promise.all(addresses.map(async (to) => [await ownAddress(to), to] as const))
  return found.some(([own, to]) => own !== null && isThroughNat(own, to))
}

/** By which address this machine would send there; null without a route. Nothing is sent. */
async function ownAddress(to: string): Promise<string | null> {
  const socket = createSocket(isIP(to) === 6 ? 'udp6' : 'udp4')
  const { promise, resolve } = Promise.withResolvers<string | null>()
  socket.on('error', () => resolve(null))
  socket.connect(discardPort, to, () => resolve(socket.address().address))
  const own = await promise
  socket.close()
  return own
}

/** Whether others see this machine under an address that it has: no NAT is between. */
export function isOwnAddress(observed: string | null): boolean {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return own.some(({ address }) => address === observed)
}
