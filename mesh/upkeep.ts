/** Keeps a device as it should be, one change after the other. */
import type { Conflict } from './claims.ts'
import type { Device } from './device.ts'
import type { Log } from './log.ts'
import { afterApplying, type Applied, nothingApplied, reconcile } from './reconcile.ts'
import type { Desired, DesiredPeer } from './topology.ts'

/** What it stands on. */
export interface UpkeepParts {
  readonly device: Pick<Device, 'apply'>
  /** The node's name. */
  readonly name: string
  readonly log: Log
}

export class Upkeep {
  readonly #parts: UpkeepParts
  #desired: Desired | null = null
  #applied: Applied = nothingApplied
  /** Ranges of this node that others do not use, as they were told. */
  #told = new Set<string>()
  #refused: readonly Conflict[] = []
  #last: Promise<void> = Promise.resolve()

  constructor(parts: UpkeepParts) {
    this.#parts = parts
  }

  /** What the device should have of a peer. */
  peer(key: string): DesiredPeer | undefined {
    return this.#desired?.peers.get(key)
  }

  /** Keys of the peers for which others stand in. */
  get watched(): readonly string[] {
    const all = [...(this.#desired?.peers.values() ?? [])]
    return all.flatMap(({ publicKey, isWatched }) => (isWatched === true ? publicKey : []))
  }

  /** Ranges that are not used. */
  get conflicts(): readonly Conflict[] {
    return [...(this.#desired?.conflicts ?? []), ...this.#refused]
  }

  /** Makes the device so. */
  async bringAbout(desired: Desired): Promise<void> {
    this.#desired = desired
    this.#tellRefused(desired.conflicts)
    await this.repair()
  }

  /** What the kernel refused may be possible now. */
  repair(): Promise<void> {
    // The difference is to what the one before left.
    const next = this.#last.then(() => this.#reconcile())
    this.#last = next.catch(() => undefined)
    return next
  }

  async #reconcile(): Promise<void> {
    if (this.#desired === null) return
    const { device, name: node, log } = this.#parts
    const desired = this.#desired
    const delta = reconcile(this.#applied, desired)
    if (delta === null) return
    const refused = await device.apply(delta)
    this.#applied = afterApplying(desired, new Set(refused.map(({ network }) => network)))
    const before = new Set(this.#refused.map(({ prefix }) => prefix))
    this.#refused = refused.map(({ network: prefix, reason }) => {
      if (!before.has(prefix)) log.warn({ prefix, reason }, 'a range is not routed')
      return { node, prefix, reason }
    })
  }

  /** Others leave a range of this node out: who started it looks here first. */
  #tellRefused(conflicts: readonly Conflict[]): void {
    const { name, log } = this.#parts
    const own = conflicts.filter(({ node }) => node === name)
    for (const { prefix, reason, isReserve } of own) {
      if (this.#told.has(prefix)) continue
      if (isReserve === true) {
        log.info({ prefix, reason }, 'this node stands in for who has a range')
        continue
      }
      const mend = 'advertise another range, or take it from the other node'
      log.warn({ prefix, reason, mend }, 'nobody uses a range of this node')
    }
    this.#told = new Set(own.map(({ prefix }) => prefix))
  }
}
