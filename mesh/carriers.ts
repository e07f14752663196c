/**
 * Which relays a node reaches by HTTP/3 or TCP: those that do not answer by UDP though packets take
 * them, and its own ones that never did. After a while UDP is tried again.
 */
import { reasonOf } from '../waf/reason-of.ts'
import type { Carrier, CarrierThread, CarryingPlace } from './carrier.ts'
import type { Device, PeerStats } from './device.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { noSteps } from './reconcile.ts'
import { pause } from './retry.ts'

/** A relay that can be reached by HTTP/3, by TCP or by both. */
export interface CarryingRelay extends CarryingPlace {
  readonly key: string
  readonly name: string
  readonly h3Port: number | null
  readonly tcpPort: number | null
  /** Others reach this node through it. */
  readonly isOwn: boolean
}

/** What it stands on. */
export interface CarriersParts {
  readonly device: Pick<Device, 'apply' | 'stats'>
  readonly thread: Pick<CarrierThread, 'connect'>
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
  /** When a carrier ended that nobody here had ended, by the relay's key. */
  readonly #lostMs = new Map<string, number>()

  constructor(parts: CarriersParts) {
    this.#parts = parts
  }

  /** `ADDRESS:PORT/h3` or `/tcp` of a relay; null when packets go to it by UDP. */
  placeOf(key: string): string | null {
    return this.#kept.get(key)?.carrier.place ?? null
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
    for (const known of [this.#unansweredMs, this.#lostMs])
      for (const key of known.keys()) if (!keys.has(key)) known.delete(key)
    const waiting = relays.filter((relay) => this.#isWaiting(relay, stats.get(relay.key), nowMs))
    await Promise.all(waiting.map((relay) => this.#open(relay, nowMs)))
  }

  #isWaiting({ key, isOwn }: CarryingRelay, seen: PeerStats | undefined, nowMs: number): boolean {
    const { isSilent = false, lastHandshakeMs = null } = seen ?? {}
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      kept.silences = isSilent ? kept.silences + 1 : 0
      if (kept.silences >= meshLimits.carrierSilencesMax) {
        this.#close(key)
        // It was silence that ended it: UDP need not prove that it is silent, too.
        this.#unansweredMs.set(key, nowMs - meshLimits.carrierPatienceMs)
      }
      return false
    }
    const lostMs = this.#lostMs.get(key)
    if (lostMs !== undefined) {
      // The device may take a relay for alive that it only has not asked.
      const isHeard = lastHandshakeMs !== null && lastHandshakeMs < performance.now() - lostMs
      if (!isHeard) return nowMs >= (this.#notBeforeMs.get(key) ?? 0)
      this.#lostMs.delete(key)
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
      const carrier = await this.#connect(relay)
      const { place } = carrier
      this.#kept.set(key, { carrier, silences: 0 })
      const way = place.endsWith('/h3') ? 'HTTP/3' : 'TCP'
      log.info({ relay: name, place }, `a relay is reached by ${way}: it does not answer by UDP`)
      this.#lostMs.delete(key)
      let isOver = false
      const again = setTimeout(() => {
        isOver = true
        carrier.close()
      }, meshLimits.carrierKeptMs)
      void carrier.ended.then(async () => {
        clearTimeout(again)
        if (!isOver) this.#lostMs.set(key, performance.now())
        this.#kept.delete(key)
        log.info({ relay: name, place }, `a relay is reached by ${way} no more: UDP is tried`)
        await this.#lead(key, endpoint)
      })
      await this.#lead(key, carrier.endpoint)
    } catch (error) {
      log.warn(
        { relay: name, reason: reasonOf(error) },
        'a relay is reached neither by UDP nor in another way',
      )
    }
  }

  /**
   * By HTTP/3, where packets stay packets; by TCP as well where that has not come about after a
   * moment. The first one is it.
   */
  async #connect(relay: CarryingRelay): Promise<Carrier> {
    const { h3Port, tcpPort } = relay
    const { thread } = this.#parts
    if (h3Port === null) return thread.connect('tcp', relay, tcpPort ?? 0)
    const byH3 = thread.connect('h3', relay, h3Port)
    if (tcpPort === null) return byH3
    const moment = new AbortController()
    const early = await Promise.race([
      byH3.catch(() => null),
      pause(meshLimits.carrierHeadStartMs, moment.signal).then(() => null),
    ])
    moment.abort()
    return early ?? firstOf([byH3, thread.connect('tcp', relay, tcpPort)])
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

/** The others are closed; fails with what all of them say. */
async function firstOf(attempts: readonly Promise<Carrier>[]): Promise<Carrier> {
  try {
    const first = await Promise.any(attempts)
    const closeOther = (carrier: Carrier): void => {
      if (carrier !== first) carrier.close()
    }
    for (const attempt of attempts) attempt.then(closeOther, () => undefined)
    return first
  } catch (error) {
    const all: unknown[] = error instanceof AggregateError ? error.errors : [error]
    throw new Error(all.map((one) => reasonOf(one)).join('; '), { cause: error })
  }
}
