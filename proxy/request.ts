/** A request's head as the wire validated it, read in place from its batch. */
import assert from 'node:assert'
import type { HeaderField } from './plan.ts'

/** What the wire found odd but countable; the WAF sees it first, then `policy.ts` decides. */
export const doubtBits = {
  encodedSlash: 256,
  dotSegments: 512,
  nul: 1_024,
  backslash: 2_048,
  underscoreName: 4_096,
  oddHost: 8_192,
  fragment: 16_384,
  unknownMethod: 32_768,
  badEscape: 65_536,
  controlOrNonAscii: 131_072,
} as const

export type Doubt = keyof typeof doubtBits

/** The other bits of a head record's flags. */
export const flagBits = {
  hasBody: 1,
  tls: 2,
  expectsContinue: 4,
  upgrade: 8,
  orphan: 16,
  query: 32,
  websocket: 64,
  early: 128,
} as const

export type Protocol = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2' | 'HTTP/3'

const protocols: Readonly<Record<number, Protocol>> = {
  10: 'HTTP/1.0',
  11: 'HTTP/1.1',
  20: 'HTTP/2',
  30: 'HTTP/3',
}

/** The name of a record's protocol number; null when there is none. */
export function protocolOf(number: number): Protocol | null {
  return protocols[number] ?? null
}

/** Bit 31 of a name word: the rest is an index into the known names. */
export const knownNameBit = 0x8000_0000
const noCertificate = 0xffff_ffff

/** Received names in lower case, by index and back. */
export class KnownHeaders {
  readonly names: readonly string[]
  readonly #indexes: ReadonlyMap<string, number>

  constructor(names: readonly string[]) {
    this.names = names
    this.#indexes = new Map(names.map((name, index) => [name, index]))
  }

  /** The name word for a lower-case name, or -1. */
  wordOf(name: string): number {
    const index = this.#indexes.get(name)
    return index === undefined ? -1 : knownNameBit + index
  }

  nameOf(word: number): string {
    const name = this.names[word - knownNameBit]
    assert(name !== undefined, `no known header ${word}`)
    return name
  }
}

/** Where a head's fields lie in its batch. */
export interface HeadPlace {
  readonly words: Uint32Array
  /** Index of the first header's name word. */
  readonly firstWord: number
  readonly count: number
  readonly text: string
  readonly firstCharacter: number
}

/** The words of a head record that are numbers, and its texts. */
export interface HeadFacts {
  readonly flags: number
  readonly protocol: number
  /** Index into the listeners of the wire's configuration. */
  readonly listener: number
  readonly certificate: number
  readonly peerPort: number
  readonly localPort: number
  /** 0, or 1 when the worker that had it before is gone. */
  readonly attempt: number
  readonly method: string
  /** As received. */
  readonly target: string
  /** Canonical: what is routed is what is forwarded. */
  readonly path: string
  /** Raw, without `?`. */
  readonly query: string
  /** Canonical, lower-case `host[:port]`, '' when the request names none. */
  readonly authority: string
  readonly sni: string
  readonly peer: string
}

/** One request head. Header fields are cut out of the batch's text only when asked for. */
export class RequestHead {
  readonly facts: HeadFacts
  readonly protocol: Protocol
  readonly #place: HeadPlace
  readonly #known: KnownHeaders

  constructor(facts: HeadFacts, place: HeadPlace, known: KnownHeaders) {
    const protocol = protocols[facts.protocol]
    assert(protocol !== undefined, `no protocol ${facts.protocol}`)
    this.facts = facts
    this.protocol = protocol
    this.#place = place
    this.#known = known
  }

  get method(): string {
    return this.facts.method
  }

  get path(): string {
    return this.facts.path
  }

  get authority(): string {
    return this.facts.authority
  }

  get peer(): string {
    return this.facts.peer
  }

  get hasBody(): boolean {
    return (this.facts.flags & flagBits.hasBody) !== 0
  }

  get tls(): boolean {
    return (this.facts.flags & flagBits.tls) !== 0
  }

  /** The plan was carried out for a worker that is gone: only the log is still owed. */
  get orphan(): boolean {
    return (this.facts.flags & flagBits.orphan) !== 0
  }

  /** Opens a WebSocket, on any protocol. */
  get websocket(): boolean {
    return (this.facts.flags & flagBits.websocket) !== 0
  }

  /** Came as TLS early data, so it may be a replay (RFC 8470). */
  get early(): boolean {
    return (this.facts.flags & flagBits.early) !== 0
  }

  get hasQuery(): boolean {
    return (this.facts.flags & flagBits.query) !== 0
  }

  /** Index of the certificate that SNI selected; null for the default one and without TLS. */
  get certificate(): number | null {
    return this.facts.certificate === noCertificate ? null : this.facts.certificate
  }

  doubts(doubt: Doubt): boolean {
    return (this.facts.flags & doubtBits[doubt]) !== 0
  }

  /** The first value of a field; `name` in lower case. */
  header(name: string): string | null {
    return this.#values(name, true)[0] ?? null
  }

  /** Every value of a field, in wire order; `name` in lower case. */
  headerAll(name: string): readonly string[] {
    return this.#values(name, false)
  }

  /** All fields, names as received, in wire order. */
  headers(): HeaderField[] {
    const { words, firstWord, count, text, firstCharacter } = this.#place
    const fields: HeaderField[] = []
    let character = firstCharacter
    for (let index = 0; index < count; index += 1) {
      const nameWord = words[firstWord + 2 * index] ?? 0
      const valueLength = words[firstWord + 2 * index + 1] ?? 0
      let name: string
      if (nameWord >= knownNameBit) name = this.#known.nameOf(nameWord)
      else {
        name = text.slice(character, character + nameWord)
        character += nameWord
      }
      fields.push([name, text.slice(character, character + valueLength)])
      character += valueLength
    }
    return fields
  }

  #values(name: string, firstOnly: boolean): string[] {
    const { words, firstWord, count, text, firstCharacter } = this.#place
    const wanted = this.#known.wordOf(name)
    const found: string[] = []
    let character = firstCharacter
    for (let index = 0; index < count; index += 1) {
      const nameWord = words[firstWord + 2 * index] ?? 0
      const valueLength = words[firstWord + 2 * index + 1] ?? 0
      const nameLength = nameWord >= knownNameBit ? 0 : nameWord
      const valueAt = character + nameLength
      // A known name in other case than lower still arrives as text.
      const matches =
        nameWord >= knownNameBit
          ? nameWord === wanted
          : nameLength === name.length && text.slice(character, valueAt).toLowerCase() === name
      if (matches) {
        found.push(text.slice(valueAt, valueAt + valueLength))
        if (firstOnly) return found
      }
      character = valueAt + valueLength
    }
    return found
  }
}
