/**
 * Packets of the mesh in HTTP/3 (CONNECT-UDP, RFC 9298) and in TCP (TLS, each packet after its
 * length), for nodes that no UDP of WireGuard comes out of. The addon has the connections, and a
 * port of loopback for each, which is the other end to the device; here is who is let in.
 */
import type { CarrierEvent } from '../native/addon/index.d.ts'
import { loadAddon } from '../native/load.ts'
import { reasonOf } from '../waf/reason-of.ts'
import { endpointText, parseEndpoint } from './entry.ts'
import { MeshFault } from './fault.ts'
import type { Identity } from './identity.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'

type AddonThread = InstanceType<ReturnType<typeof loadAddon>['CarrierThread']>

/** In what packets travel. */
export type Way = 'h3' | 'tcp'

/** What the ways are called, and whose ports they have. */
const ways = {
  h3: { name: 'HTTP/3', flag: '--relay-h3', protocol: 'UDP', sockets: 'ss -ulpn' },
  tcp: { name: 'TCP', flag: '--relay-tcp', protocol: 'TCP', sockets: 'ss -tlpn' },
} as const satisfies Record<Way, object>

/** A connection that carries packets, and where the device finds it. */
export interface Carrier {
  readonly endpoint: string
  /** Where the other end of the connection is, and in what: `ADDRESS:PORT/h3` or `/tcp`. */
  readonly place: string
  readonly ended: Promise<void>
  close(): void
}

/** A relay that takes packets in other ways than by UDP alone. */
export interface CarryingPlace {
  /** By UDP. */
  readonly endpoint: string
  readonly identity: string
}

/** What they stand on. */
export interface CarrierParts {
  readonly identity: Identity
  /** The device's own port. */
  readonly port: number
  /** What others call this node's device; null: nobody reaches it by HTTP/3. */
  readonly target: string | null
  readonly isMember: (identity: string) => boolean
  readonly log: Log
}

/** One of them, as far as it is known. */
interface Known {
  readonly way: Way
  /** Of those that others began. */
  readonly identity: string | null
  remote: string
  endpoint: string
  readonly opened: PromiseWithResolvers<void>
  readonly ended: PromiseWithResolvers<void>
}

/** All connections of a node that carry, in either way. */
export class CarrierThread {
  readonly #parts: CarrierParts
  readonly #known = new Map<number, Known>()
  #thread: AddonThread | null = null

  constructor(parts: CarrierParts) {
    this.#parts = parts
  }

  /** Connects to a relay at that port of its, which must be who it is known to be. */
  async connect(way: Way, { endpoint, identity }: CarryingPlace, port: number): Promise<Carrier> {
    const remote = endpointText(parseEndpoint(endpoint)?.address ?? '', port)
    const thread = this.#begun()
    const number = thread.connect(way, remote, endpoint, Buffer.from(identity, 'base64'))
    const known = newlyKnown(way, { identity: null, remote })
    this.#known.set(number, known)
    await known.opened.promise
    return {
      endpoint: known.endpoint,
      place: `${remote}/${way}`,
      ended: known.ended.promise,
      close: () => thread.end(number),
    }
  }

  /** Serves nodes of the mesh that come so; at which port (0: any). */
  serve(way: Way, port: number): number {
    try {
      return this.#begun().serve(way, port)
    } catch (error) {
      const { flag, protocol, sockets } = ways[way]
      throw new MeshFault('PORT_TAKEN', {
        where: flag,
        message: `${protocol} port ${port} cannot be had: ${reasonOf(error)}`,
        mend: `choose another port, or see who has it with: ${sockets} sport = :${port}`,
      })
    }
  }

  /** Ends those of nodes that are members no more. */
  review(): void {
    for (const [number, { identity }] of this.#known) {
      if (identity !== null && !this.#parts.isMember(identity)) this.#thread?.end(number)
    }
  }

  /** Where a node really is that the device sees at an address of loopback; null: none is there. */
  placeOf(endpoint: string): string | null {
    const found = [...this.#known.values()].find((known) => known.endpoint === endpoint)
    return found === undefined ? null : `${found.remote}/${found.way}`
  }

  async close(): Promise<void> {
    const thread = this.#thread
    this.#thread = null
    await thread?.close()
    for (const { opened, ended } of this.#known.values()) {
      opened.reject(new Error('ended here'))
      ended.resolve()
    }
    this.#known.clear()
  }

  /** Most nodes need none. */
  #begun(): AddonThread {
    const { CarrierThread } = loadAddon()
    this.#thread ??= new CarrierThread(optionsText(this.#parts), () => this.#take())
    return this.#thread
  }

  #take(): void {
    for (const event of this.#thread?.take() ?? []) this.#heed(event)
  }

  #heed(event: CarrierEvent): void {
    const { kind, carrier: number } = event
    if (kind === 'asks') return this.#judge(event)
    const known = this.#known.get(number)
    if (known === undefined) return undefined
    if (kind === 'ended') {
      this.#known.delete(number)
      return this.#end(known, event)
    }
    known.remote = event.remote ?? known.remote
    known.endpoint = event.endpoint ?? known.endpoint
    if (kind === 'opened') known.opened.resolve()
    return undefined
  }

  /** A member comes in; an older connection of it in the same way is over then. */
  #judge({ carrier: number, way = 'h3', identity, remote = '' }: CarrierEvent): void {
    const who = identity?.toString('base64') ?? ''
    const isMember = this.#parts.isMember(who)
    if (isMember) {
      for (const [other, known] of this.#known)
        if (known.identity === who && known.way === way) this.#thread?.end(other)
      this.#known.set(number, newlyKnown(way, { identity: who, remote }))
    } else {
      this.#parts.log.warn({ from: remote }, 'somebody who is no member asked to be carried')
    }
    this.#thread?.admit(number, isMember)
  }

  #end({ way, identity, remote, opened, ended }: Known, event: CarrierEvent): void {
    const { reason = '', dropped = 0 } = event
    const { log } = this.#parts
    const place = `${remote}/${way}`
    if (identity !== null) log.info({ place, reason }, 'a node is carried no more')
    if (dropped > 0) log.warn({ place, dropped }, `packets did not fit into ${ways[way].name}`)
    opened.reject(new Error(reason))
    ended.resolve()
  }
}

function newlyKnown(way: Way, { identity, remote }: Pick<Known, 'identity' | 'remote'>): Known {
  const opened = Promise.withResolvers<void>()
  opened.promise.catch(() => undefined) // those that others began are waited for by nobody
  return { way, identity, remote, endpoint: '', opened, ended: Promise.withResolvers<void>() }
}

/** As native/crates/carrier/src/options.rs has them. */
function optionsText({ identity, port, target }: CarrierParts): string {
  return JSON.stringify({
    key: identity.key,
    certificate: identity.certificate,
    device: `127.0.0.1:${port}`,
    targets: target === null ? [] : [target],
    carriersMax: meshLimits.carriersMax,
    handshakesMax: meshLimits.carrierHandshakesMax,
    handshakesPerAddressMax: meshLimits.carrierHandshakesPerAddressMax,
    retryFrom: meshLimits.carrierRetryFrom,
    openingTimeoutMs: meshLimits.handshakeTimeoutMs,
    connectTimeoutMs: meshLimits.carrierConnectMs,
    silenceMs: meshLimits.carrierSilenceMs,
    pingMs: meshLimits.carrierPingMs,
    deafMs: meshLimits.carrierDeafMs,
    queueBytesMax: meshLimits.carrierQueueBytesMax,
    queuePacketsMax: meshLimits.carrierQueuePacketsMax,
    packetBytesMax: meshLimits.carrierFrameBytesMax,
    windowBytesMax: meshLimits.carrierWindowBytesMax,
  })
}
