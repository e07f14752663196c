/** Requests for tests, made as the wire makes them: encoded into a batch and read back. */
import assert from 'node:assert'
import { readBatch } from './batch.ts'
import type { HeaderField } from './plan.ts'
import { type HeadFacts, KnownHeaders, type RequestHead, knownNameBit } from './request.ts'

/** Names that the wire sends as an index. */
export const known = new KnownHeaders(['host', 'accept', 'content-type', 'x-forwarded-for'])

export type RequestOptions = Partial<HeadFacts> & {
  readonly id?: number
  readonly headers?: readonly HeaderField[]
}

const defaults: HeadFacts = {
  flags: 0,
  protocol: 11,
  listener: 0,
  certificate: 0xffff_ffff,
  peerPort: 50_000,
  localPort: 8_080,
  attempt: 0,
  method: 'GET',
  target: '/',
  path: '/',
  query: '',
  authority: 'example.org',
  sni: '',
  peer: '192.0.2.1',
}

/** A head as `serve` gets it. */
export function request(options: RequestOptions = {}): RequestHead {
  const batch = encodeBatch([headRecord(options)])
  const [received] = readBatch(batch, batch.length, known)
  assert(received?.kind === 'head')
  return received.head
}

/** One record: its words and its text. */
export type EncodedRecord = readonly [words: readonly number[], text: string]

/** A HEAD record. */
export function headRecord({ id = 1, headers = [], ...given }: RequestOptions): EncodedRecord {
  const facts = { ...defaults, ...given }
  const { flags, protocol, listener, certificate, peerPort, localPort, attempt } = facts
  const { method, target, path, query, authority, sni, peer } = facts
  const texts = [method, target, path, query, authority, sni, peer]
  const words = [1, id, flags, protocol, listener, certificate, peerPort, localPort, attempt]
  words.push(...texts.map((text) => text.length), headers.length)
  for (const [name, value] of headers) {
    const word = known.wordOf(name)
    words.push(word >= knownNameBit ? word : name.length, value.length)
    texts.push(word >= knownNameBit ? '' : name, value)
  }
  return [words, texts.join('')]
}

/** The bytes that `take` would have written. */
export function encodeBatch(records: readonly EncodedRecord[]): Buffer {
  const words = records.flatMap(([own]) => own)
  const text = Buffer.from(records.map(([, own]) => own).join(''), 'latin1')
  const head = Uint32Array.from([words.length, text.length, ...words])
  const bytes = Buffer.from(new ArrayBuffer(head.byteLength + text.length))
  bytes.set(new Uint8Array(head.buffer), 0)
  bytes.set(text, head.byteLength)
  return bytes
}
