/** A name server for tests: UDP on loopback, A records out of a table. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

/** What the server says of a name: addresses, or one of the ways in which it has none. */
export type DnsAnswer =
  | { readonly addresses: readonly string[]; readonly ttlSeconds: number }
  | 'no-such-name'
  | 'server-failure'
  | 'silence'

/** A running name server. */
export interface DnsServer {
  /** `127.0.0.1:port` */
  readonly address: string
  /** Names without an entry do not exist. */
  readonly names: Map<string, DnsAnswer>
  /** Every name that was asked for, in order. */
  readonly asked: string[]
  close(): void
}

const headerBytes = 12
const codes = { 'server-failure': 2, 'no-such-name': 3 } as const

/** Starts one on a free port. */
export async function startDns(): Promise<DnsServer> {
  const names = new Map<string, DnsAnswer>()
  const asked: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const { name, end } = questionOf(query)
    asked.push(name)
    const answer = names.get(name) ?? 'no-such-name'
    if (answer !== 'silence') socket.send(reply(query, end, answer), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  return { address: `127.0.0.1:${port}`, names, asked, close: () => socket.close() }
}

function questionOf(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = []
  let at = headerBytes
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  // The empty label, the type and the class follow.
  return { name: labels.join('.').toLowerCase(), end: at + 5 }
}

/** RFC 1035 §4.1: the question again, and a record for each address. */
function reply(query: Buffer, end: number, answer: Exclude<DnsAnswer, 'silence'>): Buffer {
  const records = typeof answer === 'string' ? [] : answer.addresses.map((text) => ({ text }))
  const code = typeof answer === 'string' ? codes[answer] : 0
  const header = Buffer.from(query.subarray(0, headerBytes))
  header.writeUInt16BE(0x8180 | code, 2)
  header.writeUInt16BE(records.length, 6)
  header.writeUInt32BE(0, 8)
  const pieces = [header, query.subarray(headerBytes, end)]
  for (const { text } of records) {
    const record = Buffer.alloc(16)
    record.writeUInt16BE(0xc00c, 0)
    record.writeUInt16BE(1, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt32BE(typeof answer === 'string' ? 0 : answer.ttlSeconds, 6)
    record.writeUInt16BE(4, 10)
    record.set(text.split('.').map(Number), 12)
    pieces.push(record)
  }
  return Buffer.concat(pieces)
}
