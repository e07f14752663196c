/**
 * The streams to agents (server-sent events). A stream remembers only the version it was sent last:
 * one that reads slowly gets fewer and larger deltas, never a queue; and changes that come quickly
 * one after the other are told together.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { meshLimits } from '../limits.ts'
import type { StreamEnds, Teller } from './front.ts'
import type { Registry } from './registry.ts'
import { Outbox } from './outbox.ts'
import { type Listener, type Piece, StreamTexts } from './texts.ts'

interface Stream extends Listener {
  /** Its number at the front. */
  readonly line: number
  /** The version that its agent has; null: nothing of use. */
  sent: number | null
  isFull: boolean
  /** What its agent was told last to spread over. */
  spreadMs: number
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

const nothing = Buffer.alloc(0)

/** Writes between two looks at everything else there is to do. */
const writesPerTurn = 200

/** A join that waits for others to know of it. */
interface Waiter {
  readonly version: number
  readonly pending: Set<string>
  readonly wake: () => void
}

export class Streams implements StreamEnds {
  readonly #registry: Registry
  readonly #texts: StreamTexts
  readonly #teller: Teller
  readonly #outbox: Outbox
  readonly #streams = new Map<string, Stream>()
  readonly #lines = new Map<number, Stream>()
  readonly #applied = new Map<string, number>()
  readonly #waiters = new Set<Waiter>()
  readonly #pings: NodeJS.Timeout
  readonly #told = { delta: { events: 0, bytes: 0 }, snapshot: { events: 0, bytes: 0 } }
  #leaves = 0
  #telling: NodeJS.Timeout | null = null
  #nextTellMs = 0

  constructor(registry: Registry, teller: Teller) {
    this.#registry = registry
    this.#teller = teller
    this.#outbox = new Outbox(teller)
    this.#texts = new StreamTexts(registry)
    this.#pings = setInterval(() => void this.#ping(), lookMs)
    this.#pings.unref()
  }

  /** Serves a node from what it has; an older stream of the same node ends. */
  open(id: string, line: number, { from, hash, patience }: Resume): void {
    const before = this.#streams.get(id)
    if (before !== undefined) this.#teller.end(before.line)
    const isLeaf = this.#registry.isLeaf(id)
    const { version } = this.#registry
    const patienceMs = patience ?? meshLimits.pingIntervalMs
    const stream: Stream = {
      id,
      isLeaf,
      line,
      sent: from,
      isFull: false,
      spreadMs: 0,
      dueMs: 0,
      patienceMs,
    }
    // It is at a version that never was, or it is up to date and knows something else.
    const isStrange =
      from > version ||
      (this.#texts.after(stream, from) === null && hash !== this.#texts.hashFor(stream))
    if (isStrange) stream.sent = null
    this.#streams.set(id, stream)
    this.#lines.set(line, stream)
    if (isLeaf) this.#leaves += 1
    this.#outbox.add(line, { own: this.#hello(stream), shared: nothing })
    this.#send(stream)
    this.#flush()
  }

  #hello(stream: Stream): string {
    stream.spreadMs = this.#spreadMs(stream.isLeaf)
    const hello = { spreadMs: stream.spreadMs, pingMs: this.#awaitPing(stream) }
    return `event: hello\ndata: ${JSON.stringify(hello)}\n\n`
  }

  /** A word now and then; another greeting where the fleet grew or shrank much since the last. */
  #word(stream: Stream): string {
    const spreadMs = this.#spreadMs(stream.isLeaf)
    const [less, more] = [spreadMs, stream.spreadMs].toSorted((one, other) => one - other)
    if ((more ?? 0) > (less ?? 0) * 1.5) return this.#hello(stream)
    return `event: ping\ndata: ${this.#awaitPing(stream)}\n\n`
  }

  drained(line: number): void {
    const stream = this.#lines.get(line)
    if (stream === undefined) return
    stream.isFull = false
    this.#send(stream)
    this.#flush()
  }

  gone(line: number): void {
    const stream = this.#lines.get(line)
    if (stream === undefined) return
    this.#lines.delete(line)
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
      if (!this.#registry.has(stream.id)) {
        this.#flush()
        this.#teller.end(stream.line)
      }
      if (!isWritten) continue
      written += 1
      if (written % writesPerTurn !== 0) continue
      this.#flush()
      // oxlint-disable-next-line no-await-in-loop -- so that others have their turn
      await turn()
    }
    this.#flush()
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
    for (const { line } of this.#streams.values()) this.#teller.end(line)
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
    for (const part of piece.parts) {
      told.bytes += part.own.length + part.shared.length
      this.#outbox.add(stream.line, part)
    }
    stream.sent = piece.to
    return true
  }

  /** What was written goes out; streams with too much to read get nothing more for now. */
  #flush(): void {
    for (const line of this.#outbox.flush()) {
      const stream = this.#lines.get(line)
      if (stream !== undefined) stream.isFull = true
    }
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
      this.#outbox.add(stream.line, { own: this.#word(stream), shared: nothing })
      written += 1
      if (written % writesPerTurn !== 0) continue
      this.#flush()
      // oxlint-disable-next-line no-await-in-loop -- so that others have their turn
      await turn()
    }
    this.#flush()
  }
}
