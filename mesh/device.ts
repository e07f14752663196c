/** The WireGuard device of the addon: its only door in this folder. */
import { reasonOf } from '../waf/reason-of.ts'
import { loadAddon } from '../native/load.ts'
import { z } from 'zod'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import type { DeviceDelta } from './reconcile.ts'

/** How a device is opened. */
export interface DeviceOptions {
  readonly mode: 'kernel' | 'tun' | 'netstack'
  readonly interface: string
  /** 32 bytes in base64. */
  readonly privateKey: string
  /** The key before it, which is still answered: peers may not know the new one yet. */
  readonly previousPrivateKey?: string
  readonly port: number
  readonly mtu: number
  /** Ranges of other machines that a node without an interface serves by sockets of its own. */
  readonly serve: readonly string[]
  /** Path of the socket by which other programs dial through such a node. */
  readonly door: string
  /** How much it forwards between its peers, for those that name it as their relay: for each of
   * them, and for so many pairs. Absent: nothing. */
  readonly relay?: { readonly bytesPerSecond: number; readonly pairsMax: number }
  /** The mark of what it sends, for the machine's rules of routing and its firewall. */
  readonly mark?: number
  /** Addresses that a default route through it does not lead to. */
  readonly outside?: readonly string[]
}

/** An address or a route that the kernel did not take. */
export interface Refused {
  readonly network: string
  readonly reason: string
}

const peerStats = z.object({
  publicKey: z.string(),
  endpoint: z.string().nullable(),
  lastHandshakeMs: z.number().nullable(),
  receivedBytes: z.number(),
  sentBytes: z.number(),
  /** While keys change: packets still take a session of a key that was replaced. */
  isOnPreviousKey: z.boolean(),
  /** `relay`: through it, and directly as well where an endpoint is known. */
  path: z.enum(['direct', 'relay']),
  whyNotDirect: z.enum(['no endpoint', 'unproven', 'silent']).nullable(),
  /** The key of the relay that packets take, when they take one. */
  relay: z.string().nullable(),
  /** It is in use as a relay, or has relays, and nothing comes back directly. */
  isSilent: z.boolean().default(false),
  /** For how long packets were sent to it and nothing authentic came back, by any way; null:
   * nothing waits for a word. Of a device of the kernel it is known from one call of `stats` to
   * the next, by its counters of bytes, and may be told too short by the time between them. A peer
   * that is not watched may be alive and say nothing for ten seconds. */
  unansweredMs: z.number().nullable().default(null),
  /** The address by which this peer saw us, when it answered a probe of a direct path. */
  seenAs: z.string().nullable(),
  /** What this node forwarded for it as its relay, and how many packets it did not. */
  forwardedBytes: z.number().default(0),
  refusedPackets: z.number().default(0),
})
/** One peer as the device sees it; `lastHandshakeMs` is how long ago. */
export type PeerStats = z.infer<typeof peerStats>

const refusals = z.array(z.object({ network: z.string(), error: z.string() }))

/** A device; every method throws a `MeshFault` with what to do about it. */
export interface Device {
  apply(delta: DeviceDelta): Promise<readonly Refused[]>
  /** Of the peers that were spoken to or heard: there is nothing to tell of the others. */
  stats(): Promise<readonly PeerStats[]>
  close(): Promise<void>
}

/** Makes the interface and opens the port. */
export async function openDevice(options: DeviceOptions): Promise<Device> {
  const text = JSON.stringify(options)
  const device = await asking(options, () => loadAddon().openWireguard(text))
  return {
    async apply(delta) {
      const answer = await asking(options, () => device.apply(JSON.stringify(delta)))
      return refusals.parse(JSON.parse(answer)).map(({ network, error }) => ({
        network,
        reason: faultOf(error, options).message,
      }))
    },
    async stats() {
      return z.array(peerStats).parse(JSON.parse(await asking(options, () => device.stats())))
    },
    async close() {
      await asking(options, () => device.close())
    },
  }
}

/** The MTU of the link towards an address; null when no route leads there. */
export async function linkMtu(address: string): Promise<number | null> {
  return loadAddon().linkMtu(address)
}

async function asking<T>(options: DeviceOptions, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw faultOf(reasonOf(error), options)
  }
}

type Words = readonly [where: string, message: string, mend: string]

/** The words for a fault of `native/crates/wireguard`, which begins with its code. */
export function faultOf(text: string, options: DeviceOptions): MeshFault {
  const [, code = 'SYSTEM', what = text] = /^([A-Z_]+): (.*)$/s.exec(text) ?? []
  const [where, message, mend] = wordsFor(code, what, options)
  return new MeshFault(code, { where, message, mend })
}

function wordsFor(code: string, what: string, { interface: name, port }: DeviceOptions): Words {
  const { mtuMin, mtuMax } = meshLimits
  const words: Readonly<Record<string, Words>> = {
    NAME_INVALID: [
      '--interface',
      `"${what}" is no name of an interface`,
      'write 1 to 15 letters, digits, dashes or underscores, for example edge0',
    ],
    INTERFACE_TAKEN: [
      '--interface',
      `an interface ${name} is there already, and it is not ours`,
      `choose another name, or remove it with: ip link delete ${name}`,
    ],
    INTERFACE_GONE: [
      name,
      'somebody took the interface away',
      'start the agent again; it makes the interface anew',
    ],
    PORT_TAKEN: [
      '--port',
      `UDP port ${port} is taken`,
      `choose another port, or see who has it with: ss -ulpn sport = :${port}`,
    ],
    MTU_INVALID: ['--mtu', what, `write a number of bytes from ${mtuMin} to ${mtuMax}`],
    KEY_INVALID: ['key', what, 'a WireGuard key is 32 bytes in base64, 44 characters with the ='],
    ROUTE_TAKEN: [
      what,
      `there is another route to ${what}`,
      'remove that route, or do not advertise this range',
    ],
    ROUTE_LOOP: [
      what,
      `packets to a peer would go into the tunnel to it: ${what}`,
      'give that peer an endpoint outside of what is advertised, or advertise less',
    ],
    NO_TUN: [
      '/dev/net/tun',
      'it is not there',
      'load the kernel module tun, or give the container that device',
    ],
    NO_MODULE: [
      '--mode',
      'the kernel of this machine has no WireGuard',
      'load its module (modprobe wireguard), or let --mode be auto or tun',
    ],
    NOT_PERMITTED: [
      what,
      'the system does not permit it',
      'the agent needs the capability NET_ADMIN (root, or securityContext.capabilities.add)',
    ],
  }
  const unknown: Words = [name, what, 'see the reason; the agent tries again when it is started']
  return words[code] ?? unknown
}
