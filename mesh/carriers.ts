/**
 * Which relays a node reaches by TCP: those that do not answer by UDP though packets take them, and
 * its own ones that never did. After a while UDP is tried again.
 */
import { reasonOf } from '../waf/reason-of.ts'
import { type Carrier, type CarrierParts, connectCarrier } from './carrier.ts'
import type { Device, PeerStats } from './device.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { noSteps } from './reconcile.ts'
import { pause } from './retry.ts'

/** A relay that can be reached by TCP. */
export interface CarryingRelay {
  readonly key: string
  readonly name: string
  readonly identity: string
  /** By UDP. */
  readonly endpoint: string
  readonly tcpPort: number
  /** Others reach this node through it. */
  readonly isOwn: boolean
}

/** What it stands on. */
export interface CarriersParts extends CarrierParts {
  readonly device: Pick<Device, 'apply' | 'stats'>
  /** Those of the table of now. */
  readonly relays: () => readonly CarryingRelay[]
  /** Has the device send something to a relay. */
  readonly wake: (key: string) => void
  readonly log: Log
}

interface Kept {
  readonly carrier: Carrier
  silences: number
}

export class Carriers {
  readonly #parts: CarriersParts
  readonly #kept = new Map<string, Kept>()
  /** When a relay may be tried, by its key. */
  readonly #notBeforeMs = new Map<string, number>()
  /** Since when nothing came back from a relay. */
  readonly #unansweredMs = new Map<string, number>()

  constructor(parts: CarriersParts) {
    this.#parts = parts
  }

  /** `ADDRESS:PORT` of the connection to a relay; null when packets go by UDP. */
  placeOf(key: string): string | null {
    return this.#kept.get(key)?.carrier.remote ?? null
  }

  async run(signal: AbortSignal): Promise<void> {
    const { carrierLookMs, carrierLookMsPerRelay } = meshLimits
    while (!signal.aborted) {
      const relays = this.#parts.relays()
      // oxlint-disable-next-line no-await-in-loop -- one look after the other
      if (relays.length > 0) await this.look(relays, performance.now())
      // oxlint-disable-next-line no-await-in-loop
      await pause(carrierLookMs + relays.length * carrierLookMsPerRelay, signal)
    }
    for (const { carrier } of this.#kept.values()) carrier.close()
  }

  /** One look at all of them. */
  async look(relays: readonly CarryingRelay[], nowMs: number): Promise<void> {
    const stats = new Map((await this.#parts.device.stats()).map((one) => [one.publicKey, one]))
    const keys = new Set(relays.map(({ key }) => key))
    for (const key of this.#kept.keys()) if (!keys.has(key)) this.#close(key)
    for (const key of this.#unansweredMs.keys()) if (!keys.has(key)) this.#unansweredMs.delete(key)
    const waiting = relays.filter((relay) => this.#isWaiting(relay, stats.get(relay.key), nowMs))
    await Promise.all(waiting.map((relay) => this.#open(relay, nowMs)))
  }

  #isWaiting({ key, isOwn }: CarryingRelay, seen: PeerStats | undefined, nowMs: number): boolean {
    const { isSilent = false, lastHandshakeMs = null } = seen ?? {}
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      kept.silences = isSilent ? kept.silences + 1 : 0
      if (kept.silences >= meshLimits.carrierSilencesMax) this.#close(key)
      return false
    }
    if (!isSilent && (lastHandshakeMs !== null || !isOwn)) {
      this.#unansweredMs.delete(key)
      return false
    }
    // A relay that nobody ever asked has no reason to answer.
    if (!isSilent && !this.#unansweredMs.has(key)) this.#parts.wake(key)
    const sinceMs = this.#unansweredMs.get(key) ?? nowMs
    this.#unansweredMs.set(key, sinceMs)
    // A NAT that got another address is found out sooner than that.
    const patienceMs = isSilent ? meshLimits.carrierSilentMs : meshLimits.carrierPatienceMs
    return nowMs - sinceMs >= patienceMs && nowMs >= (this.#notBeforeMs.get(key) ?? 0)
  }

  #close(key: string): void {
    this.#kept.get(key)?.carrier.close()
  }

  async #open(relay: CarryingRelay, nowMs: number): Promise<void> {
    const { log } = this.#parts
    const { key, name, endpoint } = relay
    this.#notBeforeMs.set(key, nowMs + meshLimits.carrierRetryMs)
    this.#unansweredMs.delete(key)
    try {
      const carrier = await connectCarrier(this.#parts, relay)
      const place = carrier.remote
      this.#kept.set(key, { carrier, silences: 0 })
      log.info({ relay: name, place }, 'a relay is reached by TCP: it does not answer by UDP')
      const again = setTimeout(() => carrier.close(), meshLimits.carrierKeptMs)
      void carrier.ended.then(async () => {
        clearTimeout(again)
        this.#kept.delete(key)
        log.info({ relay: name }, 'the TCP connection to a relay is over: UDP is tried')
        await this.#lead(key, endpoint)
      })
      await this.#lead(key, carrier.endpoint)
    } catch (error) {
      log.warn(
        { relay: name, reason: reasonOf(error) },
        'a relay is reached neither by UDP nor TCP',
      )
    }
  }

  async #lead(publicKey: string, endpoint: string): Promise<void> {
    const { device, log } = this.#parts
    try {
      await device.apply({ ...noSteps, peers: [{ publicKey, endpoint }] })
    } catch (error) {
      log.warn({ reason: reasonOf(error) }, 'the device does not take the place of a relay')
    }
  }
}
