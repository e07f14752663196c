/**
 * Packets of the mesh in HTTP/3 (CONNECT-UDP, RFC 9298): the addon has the connections, and their
 * ports towards the device; here is who is let in.
 */
import type { CarrierEvent } from '../native/addon/index.d.ts'
import { loadAddon } from '../native/load.ts'
import { reasonOf } from '../waf/reason-of.ts'
import type { Carrier, CarrierParts, CarryingPlace } from './carrier.ts'
import { endpointText, parseEndpoint } from './entry.ts'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'

type AddonThread = InstanceType<ReturnType<typeof loadAddon>['CarrierThread']>

/** What they stand on. */
export interface H3Parts extends CarrierParts {
  /** What others call this node's device; null: nobody reaches it so. */
  readonly target: string | null
  readonly isMember: (identity: string) => boolean
  readonly log: Log
}

/** One of them, as far as it is known. */
interface Known {
  /** Of those that others began. */
  readonly identity: string | null
  remote: string
  endpoint: string
  readonly opened: PromiseWithResolvers<void>
  readonly ended: PromiseWithResolvers<void>
}

export class H3Carriers {
  readonly #parts: H3Parts
  readonly #known = new Map<number, Known>()
  #thread: AddonThread | null = null

  constructor(parts: H3Parts) {
    this.#parts = parts
  }

  /** Connects to a relay, which must be who it is known to be. */
  async connect(relay: CarryingPlace & { readonly h3Port: number }): Promise<Carrier> {
    const { endpoint, h3Port, identity } = relay
    const place = endpointText(parseEndpoint(endpoint)?.address ?? '', h3Port)
    const thread = this.#begun()
    const number = thread.connect('h3', place, endpoint, Buffer.from(identity, 'base64'))
    const known = newlyKnown(null, place)
    this.#known.set(number, known)
    await known.opened.promise
    return {
      endpoint: known.endpoint,
      place: `${place}/h3`,
      ended: known.ended.promise,
      close: () => thread.end(number),
    }
  }

  /** Serves nodes of the mesh that come so; at which port (0: any). */
  serve(port: number): number {
    try {
      return this.#begun().serve('h3', port)
    } catch (error) {
      throw new MeshFault('PORT_TAKEN', {
        where: '--relay-h3',
        message: `UDP port ${port} cannot be had: ${reasonOf(error)}`,
        mend: `choose another port, or see who has it with: ss -ulpn sport = :${port}`,
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
    return found === undefined ? null : `${found.remote}/h3`
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

  /** A member comes in; an older connection of it is over then. */
  #judge({ carrier: number, identity, remote = '' }: CarrierEvent): void {
    const who = identity?.toString('base64') ?? ''
    const isMember = this.#parts.isMember(who)
    if (isMember) {
      for (const [other, known] of this.#known) if (known.identity === who) this.#thread?.end(other)
      this.#known.set(number, newlyKnown(who, remote))
    } else {
      this.#parts.log.warn({ from: remote }, 'somebody who is no member asked to be carried')
    }
    this.#thread?.admit(number, isMember)
  }

  #end({ identity, remote, opened, ended }: Known, { reason = '', dropped = 0 }: CarrierEvent) {
    const { log } = this.#parts
    if (identity !== null) log.info({ place: remote, reason }, 'a node is carried no more')
    if (dropped > 0) log.warn({ place: remote, dropped }, 'packets did not fit into HTTP/3')
    opened.reject(new Error(reason))
    ended.resolve()
  }
}

function newlyKnown(identity: string | null, remote: string): Known {
  const opened = Promise.withResolvers<void>()
  opened.promise.catch(() => undefined) // those that others began are waited for by nobody
  return { identity, remote, endpoint: '', opened, ended: Promise.withResolvers<void>() }
}

/** As native/crates/carrier/src/options.rs has them. */
function optionsText({ identity, port, target }: H3Parts): string {
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
