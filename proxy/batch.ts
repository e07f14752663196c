/** Reads the records that the wire hands to a worker: one copy of the numbers, one of the texts. */
import assert from 'node:assert'
import { type BodyExtent, bodyExtents } from './body-extent.ts'
import type { HeaderField } from './plan.ts'
import { type HeadFacts, type KnownHeaders, RequestHead, knownNameBit } from './request.ts'

/** What became of the body that a plan asked for. Index as in the record. */
export const bodyStatuses = [
  'complete',
  'over-max',
  'incomplete',
  'over-budget',
  'timeout',
  'too-slow',
  'invalid',
  'trailers-too-large',
] as const

export type BodyStatus = (typeof bodyStatuses)[number]

/** The end of an exchange as the wire saw it. */
export interface Outcome {
  /** As sent to the client; 0 when nothing was. */
  readonly status: number
  /** Index into the error names; null for none. */
  readonly error: number | null
  readonly endpoint: number | null
  readonly attempts: number
  /** A first attempt that failed and was followed by another; index of the error. */
  readonly failedFirst: { readonly endpoint: number; readonly error: number } | null
  readonly requestBodyBytes: number
  readonly responseBodyBytes: number
  readonly durationUs: number
  /** Null when no upstream answered. */
  readonly upstreamFirstByteUs: number | null
  readonly clientAborted: boolean
  readonly headSent: boolean
}

/** A request that the wire refused before any worker saw it: for log and metrics only. */
export interface WireRefusal {
  readonly error: number
  readonly protocol: number
  readonly listener: number
  readonly status: number
  readonly peer: string
  readonly peerPort: number
  /** The first line as far as it was read. */
  readonly line: string
}

export type Received =
  | { readonly kind: 'head'; readonly id: number; readonly head: RequestHead }
  | {
      readonly kind: 'body'
      readonly id: number
      readonly status: BodyStatus
      readonly bytes: number
    }
  | { readonly kind: 'outcome'; readonly id: number; readonly outcome: Outcome }
  | {
      readonly kind: 'response'
      readonly id: number
      readonly status: number
      readonly headers: readonly HeaderField[]
      /** The body that came with the head. */
      readonly body: BodyExtent
    }
  | { readonly kind: 'response-body'; readonly id: number; readonly body: BodyExtent }
  | { readonly kind: 'refusal'; readonly refusal: WireRefusal }
  /** What the WAF service said; `error` is null, or the index of the reason why it did not. */
  | {
      readonly kind: 'verdict'
      readonly id: number
      readonly error: number | null
      readonly text: string
    }
  /** In the service: what the proxy says about the head that follows. */
  | { readonly kind: 'question'; readonly text: string }
  /** In the service: the proxy's exchange ended with that status. */
  | { readonly kind: 'end'; readonly id: number; readonly status: number }

const word = 2 ** 32
const headWords = 17

/** Every record of the first `length` bytes of `buffer`, which may be used again afterwards. */
export function readBatch(buffer: Buffer, length: number, known: KnownHeaders): Received[] {
  return new BatchReader(buffer, length, known).all()
}

class BatchReader {
  readonly #words: Uint32Array
  readonly #text: string
  readonly #known: KnownHeaders
  #word = 0
  #character = 0

  constructor(buffer: Buffer, length: number, known: KnownHeaders) {
    const wordCount = buffer.readUInt32LE(0)
    const textBytes = buffer.readUInt32LE(4)
    const textAt = 8 + 4 * wordCount
    assert(textAt + textBytes <= length, 'a batch ends early')
    // Exchanges read their headers later, when the buffer holds another batch: hence the copy.
    this.#words = new Uint32Array(buffer.buffer, buffer.byteOffset + 8, wordCount).slice()
    this.#text = buffer.toString('latin1', textAt, textAt + textBytes)
    this.#known = known
  }

  all(): Received[] {
    const records: Received[] = []
    while (this.#word < this.#words.length) records.push(this.#record())
    return records
  }

  #record(): Received {
    const kind = this.#next()
    switch (kind) {
      case 1:
        return this.#head()
      case 2:
        return this.#body()
      case 3:
        return this.#outcome()
      case 4:
        return this.#response()
      case 5: {
        const id = this.#next()
        return { kind: 'response-body', id, body: this.#extent() }
      }
      case 6:
        return { kind: 'refusal', refusal: this.#refusal() }
      case 7: {
        const [id, error] = [this.#next(), this.#next()]
        const text = this.#take(this.#next())
        return { kind: 'verdict', id, error: error === 0 ? null : error - 1, text }
      }
      case 8:
        return { kind: 'question', text: this.#take(this.#next()) }
      case 9:
        return { kind: 'end', id: this.#next(), status: this.#next() }
      default:
        throw new assert.AssertionError({ message: `no record kind ${kind}` })
    }
  }

  #head(): Received {
    const words = this.#words
    const at = this.#word
    assert(at - 1 + headWords <= words.length, 'a head record ends early')
    const id = this.#next()
    const flags = this.#next()
    const protocol = this.#next()
    const listener = this.#next()
    const certificate = this.#next()
    const peerPort = this.#next()
    const localPort = this.#next()
    const attempt = this.#next()
    const lengthsAt = this.#word
    this.#word += 7
    const texts = (index: number): string => this.#take(words[lengthsAt + index] ?? 0)
    // Property order is the order of the texts.
    const facts: HeadFacts = {
      flags,
      protocol,
      listener,
      certificate,
      peerPort,
      localPort,
      attempt,
      method: texts(0),
      target: texts(1),
      path: texts(2),
      query: texts(3),
      authority: texts(4),
      sni: texts(5),
      peer: texts(6),
    }
    const count = words[at + headWords - 2] ?? 0
    this.#word = at + headWords - 1
    const place = {
      words,
      firstWord: this.#word,
      count,
      text: this.#text,
      firstCharacter: this.#character,
    }
    this.#skipHeaders(count)
    return { kind: 'head', id, head: new RequestHead(facts, place, this.#known) }
  }

  #skipHeaders(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const nameWord = this.#next()
      this.#character += (nameWord >= knownNameBit ? 0 : nameWord) + this.#next()
    }
    assert(this.#character <= this.#text.length, 'the texts of a batch end early')
  }

  #body(): Received {
    const id = this.#next()
    const status = bodyStatuses[this.#next()]
    assert(status !== undefined, 'no such body status')
    return { kind: 'body', id, status, bytes: this.#next() }
  }

  #outcome(): Received {
    const id = this.#next()
    const status = this.#next()
    const error = this.#next()
    const endpoint = this.#next()
    const attempts = this.#next()
    const requestBodyBytes = this.#next() + word * this.#next()
    const responseBodyBytes = this.#next() + word * this.#next()
    const durationUs = this.#next()
    const firstByteUs = this.#next()
    const flags = this.#next()
    const failedEndpoint = this.#next()
    const failedError = this.#next()
    const outcome: Outcome = {
      status,
      error: error === 0 ? null : error - 1,
      endpoint: endpoint === 0 ? null : endpoint - 1,
      attempts,
      failedFirst:
        failedEndpoint === 0 ? null : { endpoint: failedEndpoint - 1, error: failedError - 1 },
      requestBodyBytes,
      responseBodyBytes,
      durationUs,
      upstreamFirstByteUs: firstByteUs === 0 ? null : firstByteUs,
      clientAborted: (flags & 1) !== 0,
      headSent: (flags & 2) !== 0,
    }
    return { kind: 'outcome', id, outcome }
  }

  #response(): Received {
    const id = this.#next()
    const status = this.#next()
    const body = this.#extent()
    const count = this.#next()
    const headers: HeaderField[] = []
    for (let index = 0; index < count; index += 1) {
      const nameLength = this.#next()
      const valueLength = this.#next()
      headers.push([this.#take(nameLength), this.#take(valueLength)])
    }
    return { kind: 'response', id, status, headers, body }
  }

  #extent(): BodyExtent {
    const extent = bodyExtents[this.#next()]
    assert(extent !== undefined, 'no such extent of a body')
    return extent
  }

  #refusal(): WireRefusal {
    const error = this.#next()
    const protocol = this.#next()
    const listener = this.#next()
    const status = this.#next()
    const peerPort = this.#next()
    const peerLength = this.#next()
    const lineLength = this.#next()
    const peer = this.#take(peerLength)
    return { error, protocol, listener, status, peer, peerPort, line: this.#take(lineLength) }
  }

  #next(): number {
    const value = this.#words[this.#word]
    assert(value !== undefined, 'a record ends early')
    this.#word += 1
    return value
  }

  #take(length: number): string {
    const end = this.#character + length
    assert(end <= this.#text.length, 'the texts of a batch end early')
    const text = this.#text.slice(this.#character, end)
    this.#character = end
    return text
  }
}
