/**
 * Who of several controllers writes: the one that holds a Lease, as `client-go` elects. Clocks of
 * machines differ, so that nobody compares times of others: a lease is over when it did not change
 * for its duration while one looked on.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../waf/reason-of.ts'
import { type Api, ApiError } from './api.ts'
import type { Log } from './log.ts'
import { type Lease, type LeaseSpec, read } from './objects.ts'

/** A lease as it was seen. */
export interface Sighting {
  readonly spec: LeaseSpec
  /** When it was first seen like this, on the clock of the one who looks. */
  readonly sinceMs: number
}

/** The moment of a look. */
export interface Moment {
  readonly nowMs: number
  /** The same moment for people, RFC 3339 with microseconds. */
  readonly time: string
}

/** What `me` should write now; null while another one leads. */
export function claim(
  seen: Sighting | null,
  me: string,
  { nowMs, time }: Moment,
  durationSeconds: number,
): LeaseSpec | null {
  const held = { holderIdentity: me, leaseDurationSeconds: durationSeconds, renewTime: time }
  if (seen === null) return { ...held, acquireTime: time, leaseTransitions: 0 }
  const { holderIdentity = '', leaseDurationSeconds = 0, leaseTransitions = 0 } = seen.spec
  if (holderIdentity === me) return { ...seen.spec, ...held }
  const isOver = nowMs - seen.sinceMs > leaseDurationSeconds * 1_000
  if (holderIdentity !== '' && !isOver) return null
  return { ...held, acquireTime: time, leaseTransitions: leaseTransitions + 1 }
}

/** Times of an election; those of `client-go`. */
export interface ElectionTimes {
  /** Others wait for so long without a renewal. */
  readonly durationSeconds: number
  /** Without a renewal for so long, the holder writes no more. Less than the duration. */
  readonly renewDeadlineMs: number
  readonly retryMs: number
}

export const electionTimes: ElectionTimes = {
  durationSeconds: 15,
  renewDeadlineMs: 10_000,
  retryMs: 2_000,
}

/** What an election is about. */
export interface ElectionOptions {
  readonly namespace: string
  /** The name of the Lease. */
  readonly name: string
  /** Who asks: the same for no other program. */
  readonly me: string
  readonly times: ElectionTimes
  readonly log: Log
  /** The lease was won or lost. */
  readonly onChange: () => void
}

/** One candidate. */
export class Election {
  readonly #api: Api
  readonly #options: ElectionOptions
  readonly #path: string
  #seen: (Sighting & Pick<Lease, 'metadata'>) | null = null
  #heldUntilMs = 0
  #wasLeader = false

  constructor(api: Api, options: ElectionOptions) {
    this.#api = api
    this.#options = options
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`
  }

  /** Whether it may write now. Nobody else can, for at least the length of one request more. */
  get isLeader(): boolean {
    return performance.now() < this.#heldUntilMs
  }

  /** Takes and renews the lease until it is told to end, then gives it back; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { times, log } = this.#options
    while (!signal.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- each try follows from the last one
        await this.#attempt()
      } catch (error) {
        // Another one was faster: that is no fault.
        const isRace = error instanceof ApiError && error.status === 409
        if (!isRace) log.warn({ lease: this.#options.name, reason: reasonOf(error) }, 'no lease')
      }
      this.#tell()
      // oxlint-disable-next-line no-await-in-loop
      await sleep(times.retryMs, undefined, { signal }).catch(() => undefined)
    }
    await this.#release()
  }

  async #attempt(): Promise<void> {
    const { me, times, name } = this.#options
    const begunMs = performance.now()
    await this.#look()
    const moment = { nowMs: performance.now(), time: microTime() }
    const spec = claim(this.#seen, me, moment, times.durationSeconds)
    if (spec === null) {
      this.#heldUntilMs = 0
      return
    }
    const written = this.#lease(spec)
    const answer =
      this.#seen === null
        ? await this.#api.call('POST', this.#path, written)
        : await this.#api.call('PUT', `${this.#path}/${name}`, written)
    this.#note(read.lease(answer))
    // It may have been over for a moment, in which a change was left to the one who leads.
    this.#tell()
    // From before the request on: what others saw, they saw after that.
    this.#heldUntilMs = begunMs + times.renewDeadlineMs
  }

  async #look(): Promise<void> {
    try {
      const answer = await this.#api.call('GET', `${this.#path}/${this.#options.name}`)
      this.#note(read.lease(answer))
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error
      this.#seen = null
    }
  }

  #note({ metadata, spec = {} }: Lease): void {
    if (this.#seen?.metadata.resourceVersion === metadata.resourceVersion) return
    this.#seen = { spec, metadata, sinceMs: performance.now() }
  }

  #tell(): void {
    if (this.isLeader === this.#wasLeader) return
    this.#wasLeader = this.isLeader
    const { log, name, onChange } = this.#options
    log.info({ lease: name }, this.#wasLeader ? 'this controller leads' : 'another one may lead')
    onChange()
  }

  /**
   * The whole object, with the labels of the one that it takes the place of, and with its uid: a
   * Lease that was deleted meanwhile must not come back by that.
   */
  #lease(spec: LeaseSpec) {
    const { name, namespace } = this.#options
    const metadata = { ...this.#seen?.metadata, name, namespace }
    return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }
  }

  /** So that the next one need not wait. */
  async #release(): Promise<void> {
    if (!this.isLeader || this.#seen === null) return
    this.#heldUntilMs = 0
    const { name, log } = this.#options
    const { spec } = this.#seen
    const free = { ...spec, holderIdentity: '', leaseDurationSeconds: 1 }
    try {
      await this.#api.call('PUT', `${this.#path}/${name}`, this.#lease(free))
    } catch (error) {
      log.warn({ lease: name, reason: reasonOf(error) }, 'the lease was not given back')
    }
  }
}

/** Kubernetes' MicroTime. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z')
}
