/**
 * The streams to agents (server-sent events). A stream remembers only the version it was sent last:
 * one that reads slowly gets fewer and larger deltas, never a queue; and changes that come quickly
 * one after the other are told together.
 */
import type { ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { meshLimits } from '../limits.ts'
import type { Registry } from './registry.ts'
import { type Listener, type Piece, StreamTexts } from './texts.ts'

interface Stream extends Listener {
  readonly response: ServerResponse
  /** The version that its agent has; null: nothing of use. */
  sent: number | null
  isFull: boolean
}

/** What an agent says it has. */
export interface Resume {
  readonly from: number
  readonly hash: string
}

/** What was written, since the start. */
export interface Told {
  readonly events: number
  readonly bytes: number
}

/** Writes between two looks at everything else there is to do. */
const writesPerTurn = 200

/** A join that waits for others to know of it. */
interface Waiter {
  readonly version: number
  readonly pending: Set<string>
  readonly wake: () => void
}

export class Streams {
  readonly #registry: Registry
  readonly #texts: StreamTexts
  readonly #streams = new Map<string, Stream>()
  readonly #applied = new Map<string, number>()
  readonly #waiters = new Set<Waiter>()
  readonly #pings: NodeJS.Timeout
  readonly #told = { delta: { events: 0, bytes: 0 }, snapshot: { events: 0, bytes: 0 } }
  #leaves = 0
  #telling: NodeJS.Timeout | null = null
  #nextTellMs = 0

  constructor(registry: Registry) {
    this.#registry = registry
    this.#texts = new StreamTexts(registry)
    this.#pings = setInterval(() => void this.#ping(), meshLimits.pingIntervalMs)
    this.#pings.unref()
  }

  /** Serves a node from what it has; an older stream of the same node ends. */
  open(id: string, response: ServerResponse, { from, hash }: Resume): void {
    this.#streams.get(id)?.response.end()
    const isLeaf = this.#registry.isLeaf(id)
    const { version } = this.#registry
    const stream: Stream = { id, isLeaf, response, sent: from, isFull: false }
    // It is at a version that never was, or it is up to date and knows something else.
    const isStrange =
      from > version ||
      (this.#texts.after(stream, from) === null && hash !== this.#texts.hashFor(stream))
    if (isStrange) stream.sent = null
    this.#streams.set(id, stream)
    if (isLeaf) this.#leaves += 1
    response.on('drain', () => {
      stream.isFull = false
      this.#send(stream)
    })
    response.on('close', () => this.#closed(stream))
    response.write(
      `event: hello\ndata: ${JSON.stringify({ spreadMs: this.#spreadMs(isLeaf) })}\n\n`,
    )
    this.#send(stream)
  }

  #closed(stream: Stream): void {
    if (stream.isLeaf) this.#leaves -= 1
    if (this.#streams.get(stream.id) !== stream) return
    this.#streams.delete(stream.id)
    this.#applied.delete(stream.id)
    this.#answered(stream.id, Number.POSITIVE_INFINITY)
  }

  /** What agents of one kind do at the same moment they spread over so long. */
  #spreadMs(isLeaf: boolean): number {
    const count = isLeaf ? this.#leaves : this.#streams.size - this.#leaves
    const { spreadStreamsMin, spreadMsPerStream } = meshLimits
    return count <= spreadStreamsMin ? 0 : Math.round(count * spreadMsPerStream)
  }

  /** Whether there are so many of this node's kind that they must spare the coordinator. */
  isMany(id: string): boolean {
    return this.#spreadMs(this.#registry.isLeaf(id)) > 0
  }

  /** Something changed: everybody whom it concerns hears of it, soon. */
  changed(): void {
    if (this.#telling !== null) return
    const waitMs = Math.max(0, this.#nextTellMs - performance.now())
    this.#telling = setTimeout(() => void this.#tell(), waitMs)
  }

  async #tell(): Promise<void> {
    this.#telling = null
    const gapMs = this.#streams.size * meshLimits.tellMsPerStream
    this.#nextTellMs = performance.now() + gapMs
    let written = 0
    for (const stream of this.#streams.values()) {
      const isWritten = this.#send(stream)
      if (!this.#registry.has(stream.id)) stream.response.end()
      if (!isWritten) continue
      written += 1
      // oxlint-disable-next-line no-await-in-loop -- so that others have their turn
      if (written % writesPerTurn === 0) await turn()
    }
  }

  /** What a node says that its device has. */
  applied(id: string, version: number): void {
    this.#applied.set(id, version)
    this.#answered(id, version)
  }

  #answered(id: string, version: number): void {
    for (const waiter of this.#waiters) {
      if (version < waiter.version || !waiter.pending.delete(id)) continue
      if (waiter.pending.size === 0) waiter.wake()
    }
  }

  /** Whether, in time, every connected node that hears of this one has applied a version. */
  async known(version: number, joined: string): Promise<boolean> {
    const { responderWaitMs, respondersMax } = meshLimits
    const isLeaf = this.#registry.isLeaf(joined)
    const pending = new Set<string>()
    for (const stream of this.#streams.values()) {
      if (stream.id === joined || (isLeaf && stream.isLeaf)) continue
      if ((this.#applied.get(stream.id) ?? -1) < version) pending.add(stream.id)
      if (pending.size > respondersMax) break // they will not all be done in that time
    }
    if (pending.size === 0) return true
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiter: Waiter = { version, pending, wake: resolve }
    if (pending.size <= respondersMax) this.#waiters.add(waiter)
    const timer = setTimeout(resolve, responderWaitMs)
    await promise
    clearTimeout(timer)
    this.#waiters.delete(waiter)
    return pending.size === 0
  }

  get count(): number {
    return this.#streams.size
  }

  /** Whether a node is connected now. */
  has(id: string): boolean {
    return this.#streams.has(id)
  }

  /** How far the last of those that reported is behind. */
  get lag(): number {
    const { all, core } = this.#registry
    let most = 0
    for (const { id, isLeaf } of this.#streams.values()) {
      const applied = this.#applied.get(id)
      if (applied === undefined) continue
      most = Math.max(most, (isLeaf ? core : all).countSince(applied))
    }
    return most
  }

  /** What was written of each kind. */
  get told(): Readonly<Record<Piece['kind'], Told>> {
    return this.#told
  }

  close(): void {
    clearInterval(this.#pings)
    if (this.#telling !== null) clearTimeout(this.#telling)
    for (const { response } of this.#streams.values()) response.end()
    this.#streams.clear()
    for (const { wake } of this.#waiters) wake()
  }

  /** Whether there was something to write. */
  #send(stream: Stream): boolean {
    if (stream.isFull || stream.sent === this.#registry.version) return false
    const piece = this.#texts.after(stream, stream.sent)
    if (piece === null) return false
    const told = this.#told[piece.kind]
    told.events += 1
    for (const text of piece.texts) {
      told.bytes += text.length
      stream.isFull = !stream.response.write(text)
    }
    stream.sent = piece.to
    return true
  }

  async #ping(): Promise<void> {
    let written = 0
    for (const { response, isFull } of this.#streams.values()) {
      if (!isFull) response.write(': \n\n')
      written += 1
      // oxlint-disable-next-line no-await-in-loop -- so that others have their turn
      if (written % writesPerTurn === 0) await turn()
    }
  }
}
