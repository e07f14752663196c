/**
 * The streams to agents (server-sent events). A stream remembers only the version it was sent last:
 * one that reads slowly gets fewer and larger deltas, never a queue.
 */
import type { ServerResponse } from 'node:http'
import { meshLimits } from '../limits.ts'
import type { Registry } from './registry.ts'

interface Stream {
  readonly response: ServerResponse
  /** Null: nothing yet, or what it has is not what we know. */
  sent: number | null
  isFull: boolean
}

/** What an agent says it has. */
export interface Resume {
  readonly from: number
  readonly hash: string
}

export class Streams {
  readonly #registry: Registry
  readonly #streams = new Map<string, Stream>()
  readonly #applied = new Map<string, number>()
  readonly #pings: NodeJS.Timeout
  #waiting: (() => void)[] = []
  /** Of the newest version: most agents come from the same one. */
  #texts = new Map<number | null, string>()
  #textsOf = -1

  constructor(registry: Registry) {
    this.#registry = registry
    this.#pings = setInterval(() => this.#ping(), meshLimits.pingIntervalMs)
    this.#pings.unref()
  }

  /** Serves a node from what it has; an older stream of the same node ends. */
  open(id: string, response: ServerResponse, { from, hash }: Resume): void {
    this.#streams.get(id)?.response.end()
    const { version } = this.#registry
    const isSame = from === version && hash === this.#registry.hash
    const stream: Stream = { response, sent: isSame || from < version ? from : null, isFull: false }
    this.#streams.set(id, stream)
    response.on('drain', () => {
      stream.isFull = false
      this.#send(stream)
    })
    response.on('close', () => {
      if (this.#streams.get(id) !== stream) return
      this.#streams.delete(id)
      this.#applied.delete(id)
      this.#look()
    })
    response.write(`event: hello\ndata: {}\n\n`)
    this.#send(stream)
  }

  /** Something changed: everybody hears of it. Those who are out are heard no more. */
  changed(): void {
    for (const [id, stream] of this.#streams) {
      this.#send(stream)
      if (!this.#registry.has(id)) stream.response.end()
    }
  }

  /** What a node says that its device has. */
  applied(id: string, version: number): void {
    this.#applied.set(id, version)
    this.#look()
  }

  /** Until every connected node but one has applied a version, or the time is up. */
  async known(version: number, exceptId: string): Promise<void> {
    const isKnown = (): boolean =>
      [...this.#streams.keys()].every(
        (id) => id === exceptId || (this.#applied.get(id) ?? -1) >= version,
      )
    const deadline = performance.now() + meshLimits.responderWaitMs
    while (!isKnown() && performance.now() < deadline) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.push(resolve)
      const timer = setTimeout(resolve, deadline - performance.now())
      await promise
      clearTimeout(timer)
    }
  }

  get count(): number {
    return this.#streams.size
  }

  close(): void {
    clearInterval(this.#pings)
    for (const { response } of this.#streams.values()) response.end()
    this.#streams.clear()
    this.#look()
  }

  #send(stream: Stream): void {
    if (stream.isFull || stream.sent === this.#registry.version) return
    stream.isFull = !stream.response.write(this.#textFrom(stream.sent))
    stream.sent = this.#registry.version
  }

  #textFrom(from: number | null): string {
    const { version } = this.#registry
    if (this.#textsOf !== version) this.#texts.clear()
    this.#textsOf = version
    const known = this.#texts.get(from)
    if (known !== undefined) return known
    const delta = from === null ? null : this.#registry.delta(from)
    const text =
      delta === null
        ? `event: snapshot\ndata: ${JSON.stringify(this.#registry.snapshot())}\n\n`
        : `event: delta\ndata: ${JSON.stringify(delta)}\n\n`
    this.#texts.set(from, text)
    return text
  }

  #ping(): void {
    for (const { response, isFull } of this.#streams.values()) if (!isFull) response.write(': \n\n')
  }

  #look(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}
