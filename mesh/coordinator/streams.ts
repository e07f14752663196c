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
  /** When it must hear something, and how long it may wait for that at most. */
  dueMs: number
  readonly patienceMs: number
}

/** What an agent says it has. */
export interface Resume {
  readonly from: number
  readonly hash: string
  /** For how long it can wait for a word; agents of before say nothing, and wait for 15 s. */
  readonly patience?: number | undefined
}

/** What was written, since the start. */
export interface Told {
  readonly events: number
  readonly bytes: number
}

/** How often it is looked who must hear something. */
const lookMs = 1_000

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
    this.#pings = setInterval(() => void this.#ping(), lookMs)
    this.#pings.unref()
  }

  /** Serves a node from what it has; an older stream of the same node ends. */
  open(id: string, response: ServerResponse, { from, hash, patience }: Resume): void {
    this.#streams.get(id)?.response.end()
    const isLeaf = this.#registry.isLeaf(id)
    const { version } = this.#registry
    const patienceMs = patience ?? meshLimits.pingIntervalMs
    const stream: Stream = {
      id,
      isLeaf,
      response,
      sent: from,
      isFull: false,
      dueMs: 0,
      patienceMs,
    }
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
    const pingMs = this.#awaitPing(stream)
    const hello = { spreadMs: this.#spreadMs(isLeaf), pingMs }
    response.write(`event: hello\ndata: ${JSON.stringify(hello)}\n\n`)
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

  /** How long a stream may hear nothing from now on. */
  #awaitPing(stream: Stream): number {
    const { pingIntervalMs, pingMsPerStream, pingIntervalMsMax } = meshLimits
    const wanted = Math.max(pingIntervalMs, this.#streams.size * pingMsPerStream)
    const pingMs = Math.round(Math.min(wanted, pingIntervalMsMax, stream.patienceMs))
    // Streams that began together do not stay together.
    stream.dueMs = performance.now() + pingMs * (0.75 + Math.random() / 4)
    return pingMs
  }

  async #ping(): Promise<void> {
    let written = 0
    const nowMs = performance.now()
    for (const stream of this.#streams.values()) {
      if (stream.dueMs > nowMs || stream.isFull) continue
      stream.response.write(`event: ping\ndata: ${this.#awaitPing(stream)}\n\n`)
      written += 1
      // oxlint-disable-next-line no-await-in-loop -- so that others have their turn
      if (written % writesPerTurn === 0) await turn()
    }
  }
}
