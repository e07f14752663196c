/** What an agent keeps on disk, so that the mesh goes on without its coordinator. */
import { z } from 'zod'
import { reasonOf } from '../waf/reason-of.ts'
import { entry, meshNetworks } from './entry.ts'
import { readState, writeLasting, writeSecret } from './folder.ts'
import { meshLimits } from './limits.ts'
import type { Log } from './log.ts'
import { emptyView, type View, viewOf } from './view.ts'

const membershipFile = 'membership.json'
export const viewFile = 'view.json'

const membership = z.object({
  url: z.string(),
  pin: z.string(),
  id: z.string(),
  name: z.string(),
  networks: meshNetworks,
  /** What `edge mesh join` was told, for an `edge mesh up` that is told nothing. */
  said: z
    .object({
      port: z.number(),
      advertise: z.array(z.string()),
      endpoint: z.string().nullable(),
    })
    .optional(),
})
/** Which mesh a node is in, since it joined. */
export type Membership = z.infer<typeof membership>

/** Null before the node joined. */
export function readMembership(folder: string): Membership | null {
  return readState(folder, membershipFile, membership)
}

export function writeMembership(folder: string, value: Membership): void {
  writeLasting(folder, membershipFile, JSON.stringify(value))
}

const storedView = z.object({ version: z.number(), hash: z.string(), nodes: z.array(entry) })

/** The last view that was applied. */
export function readView(folder: string): View {
  const kept = readState(folder, viewFile, storedView)
  return kept === null ? emptyView : viewOf(kept)
}

/** The same for an agent: the coordinator tells it all of it again, so a loss of power, or a disk
 * that is full, must not keep it from starting. */
export function viewToBegin(folder: string, log: Log): View {
  try {
    return readView(folder)
  } catch (error) {
    log.warn({ reason: reasonOf(error), file: viewFile }, 'the table of nodes cannot be read')
    return emptyView
  }
}

/** The table on disk, not written more often than its size allows: an older one will do, too. */
export class ViewFile {
  readonly #folder: string
  readonly #log: Log
  #newest: View | null = null
  #timer: NodeJS.Timeout | null = null
  #writtenAtMs = Number.NEGATIVE_INFINITY

  constructor(folder: string, log: Log) {
    this.#folder = folder
    this.#log = log
  }

  keep(view: View): void {
    this.#newest = view
    const gapMs = view.entries.size * meshLimits.viewWriteMsPerNode
    const waitMs = this.#writtenAtMs + gapMs - performance.now()
    if (waitMs <= 0) return this.#writeOrTell()
    this.#timer ??= setTimeout(() => this.#writeOrTell(), waitMs).unref()
  }

  close(): void {
    this.#writeOrTell()
  }

  /** Nobody waits for it: a full disk must not end an agent whose mesh works. */
  #writeOrTell(): void {
    try {
      this.#write()
    } catch (error) {
      this.#log.warn({ reason: reasonOf(error) }, 'the table of nodes is not written')
    }
  }

  #write(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#newest === null) return
    const { version, hash, entries } = this.#newest
    this.#newest = null
    const text = JSON.stringify({ version, hash, nodes: [...entries.values()] })
    writeSecret(this.#folder, viewFile, text)
    this.#writtenAtMs = performance.now()
  }
}
