/**
 * Peers that do not answer while others could stand in for them. The device tells since when
 * packets to a peer had no answer; from that follows who is silent, and these are asked now and
 * then.
 */
import { reasonOf } from '../waf/reason-of.ts'
import type { Device } from './device.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { pause } from './retry.ts'
import type { MeshNode } from './topology.ts'

/** What it stands on. */
export interface WatchParts {
  readonly device: Pick<Device, 'stats'>
  /** Nobody answers for so long. */
  readonly silentMs: number
  /** Those of now, by their keys. */
  readonly watched: () => ReadonlyMap<string, MeshNode>
  /** Others are silent than before. */
  readonly changed: () => Promise<void>
  /** Has the device send something to them. */
  readonly wake: (nodes: readonly MeshNode[]) => Promise<void>
  readonly log: Log
}

export class Watch {
  readonly #parts: WatchParts
  #silent: ReadonlyMap<string, MeshNode> = new Map()
  #wokenMs = Number.NEGATIVE_INFINITY

  constructor(parts: WatchParts) {
    this.#parts = parts
  }

  /** The ids of those who are silent. */
  get silent(): ReadonlySet<string> {
    return new Set(this.#silent.keys())
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // oxlint-disable-next-line no-await-in-loop -- one look after the other
      await pause(meshLimits.watchIntervalMs, signal)
      const watched = this.#parts.watched()
      if (signal.aborted || (watched.size === 0 && this.#silent.size === 0)) continue
      // oxlint-disable-next-line no-await-in-loop
      await this.look(watched, performance.now())
    }
  }

  /** One look at all of them. */
  async look(watched: ReadonlyMap<string, MeshNode>, nowMs: number): Promise<void> {
    const { device, silentMs, changed, wake, log } = this.#parts
    const stats = await device.stats()
    const silent = new Map<string, MeshNode>()
    for (const { publicKey, unansweredMs } of stats) {
      const node = watched.get(publicKey)
      if (node !== undefined && (unansweredMs ?? 0) >= silentMs) silent.set(node.id, node)
    }
    const before = this.#silent
    this.#silent = silent
    const fell = [...silent.values()].filter(({ id }) => !before.has(id))
    const rose = [...before.values()].filter(({ id }) => !silent.has(id))
    for (const { name } of fell) log.warn({ node: name }, 'it does not answer: others stand in')
    for (const { name } of rose) log.info({ node: name }, 'it answers again, or nobody needs it')
    if (fell.length + rose.length > 0) await changed()
    if (silent.size === 0 || nowMs - this.#wokenMs < meshLimits.wakeSilentMs) return
    this.#wokenMs = nowMs
    await wake([...silent.values()]).catch((error: unknown) => {
      log.warn({ reason: reasonOf(error) }, 'a silent node is not asked')
    })
  }
}
