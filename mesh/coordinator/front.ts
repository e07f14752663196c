/**
 * Where agents come in: the addon ends TLS, reads whole requests and holds the streams; here its
 * requests become those of Node's HTTP, so that fastify answers them, and a stream is a number.
 */
import { IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { FrontRequest } from '../../native/addon/index.d.ts'
import { loadAddon } from '../../native/load.ts'
import { meshLimits } from '../limits.ts'

type AddonFront = InstanceType<ReturnType<typeof loadAddon>['Front']>

/** Requests that are begun before anything else has its turn. */
const requestsPerTurn = 32

/** What a front stands on beside the limits. */
export interface FrontPlace {
  /** `ADDRESS:PORT`. */
  readonly address: string
  readonly key: string
  readonly certificate: string
  readonly ticketKeys: Buffer
}

/** Who hears what becomes of streams. */
export interface StreamEnds {
  drained(line: number): void
  gone(line: number): void
}

/** What one stream is told before what all are told. */
export interface Telling {
  readonly line: number
  readonly own: string
}

/** What streams need of a front. */
export interface Teller {
  /** Which of them have too much to read now: they say when they are drained. */
  tell(tellings: readonly Telling[], shared: Buffer): readonly number[]
  end(line: number): void
}

interface Written {
  readonly chunk: Buffer | string
  readonly encoding: BufferEncoding
}

/** What Node's HTTP takes for the connection of one request. */
export class AskingSocket extends Socket {
  /** The Ed25519 key in base64 that the connection proved; null: it showed none. */
  readonly identity: string | null
  /** The number of a stream on it, once it is open. */
  readonly line: number
  override readonly remoteAddress: string
  readonly #written: Buffer[] = []

  constructor(line: number, { address, identity }: FrontRequest) {
    super()
    this.line = line
    this.remoteAddress = address
    this.identity = identity === undefined ? null : identity.toString('base64')
  }

  override _read(): void {
    // The request was whole when it came.
  }

  override _write(...[chunk, encoding, done]: Parameters<Socket['_write']>): void {
    this.#keep({ chunk, encoding })
    done()
  }

  override _writev(chunks: Written[], done: () => void): void {
    for (const written of chunks) this.#keep(written)
    done()
  }

  /** A socket's text comes as it is. */
  #keep({ chunk, encoding }: Written): void {
    this.#written.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)
  }

  /** Everything that was answered. */
  get written(): Buffer {
    return Buffer.concat(this.#written)
  }
}

export class Front implements Teller {
  readonly #addon: AddonFront
  readonly #listener: RequestListener
  readonly #ends: StreamEnds
  #isTaking = false

  constructor(place: FrontPlace, listener: RequestListener, ends: StreamEnds) {
    const { Front: Addon } = loadAddon()
    this.#listener = listener
    this.#ends = ends
    this.#addon = new Addon(optionsText(place), () => void this.#take())
  }

  get address(): string {
    return this.#addon.address
  }

  /** Answers the request of a line with a head that `tell` goes on with. */
  open(line: number, headers: Readonly<Record<string, string>>): void {
    const fields = Object.entries({ ...headers, date: new Date().toUTCString() })
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`)
    this.#addon.open(line, `HTTP/1.1 200 OK\r\n${lines.join('')}`)
  }

  tell(tellings: readonly Telling[], shared: Buffer): readonly number[] {
    const own = Buffer.from(tellings.map((telling) => telling.own).join(''))
    let end = 0
    const ends = Uint32Array.from(tellings, (telling) => (end += Buffer.byteLength(telling.own)))
    const lines = Uint32Array.from(tellings, ({ line }) => line)
    return this.#addon.tell(lines, ends, own, shared)
  }

  end(line: number): void {
    this.#addon.end(line)
  }

  async close(): Promise<void> {
    await this.#addon.close()
  }

  async #take(): Promise<void> {
    if (this.#isTaking) return
    this.#isTaking = true
    for (;;) {
      const events = this.#addon.take(requestsPerTurn)
      for (const { kind, connection, request } of events) {
        if (kind === 'drained') this.#ends.drained(connection)
        else if (kind === 'gone') this.#ends.gone(connection)
        else if (request !== undefined) this.#ask(connection, request)
      }
      if (events.length < requestsPerTurn) break
      // oxlint-disable-next-line no-await-in-loop -- so that others have their turn
      await turn()
    }
    this.#isTaking = false
  }

  #ask(connection: number, asked: FrontRequest): void {
    const socket = new AskingSocket(connection, asked)
    const request = requestOf(socket, asked)
    const response = new ServerResponse(request)
    response.shouldKeepAlive = asked.keepAlive
    response.assignSocket(socket)
    response.once('finish', () => {
      const isKept = asked.keepAlive && response.getHeader('connection') !== 'close'
      this.#addon.answer(connection, socket.written, isKept)
    })
    try {
      this.#listener(request, response)
    } catch {
      // It says so itself, elsewhere; whoever asked must not wait for ever.
      response.writeHead(500, { connection: 'close' }).end()
    }
  }
}

function requestOf(socket: AskingSocket, asked: FrontRequest): IncomingMessage {
  const request = new IncomingMessage(socket)
  request.method = asked.method
  request.url = asked.target
  request.httpVersion = '1.1'
  request.httpVersionMajor = 1
  request.httpVersionMinor = 1
  request.rawHeaders = asked.headers
  request.headers = headersOf(asked.headers)
  if (asked.body.length > 0) request.push(asked.body)
  request.push(null)
  request.complete = true
  return request
}

/** The first of each name: none that is looked at here may come twice. */
function headersOf(raw: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null)
  for (let at = 0; at < raw.length; at += 2) {
    headers[(raw[at] ?? '').toLowerCase()] ??= raw[at + 1] ?? ''
  }
  return headers
}

function optionsText({ ticketKeys, ...place }: FrontPlace): string {
  const { backlogMax, connectionsMax, handshakeTimeoutMs, requestTimeoutMs } = meshLimits
  const { idleTimeoutMs, stallTimeoutMs, requestHeadBytesMax, requestHeadersMax } = meshLimits
  const { requestBytesMax, streamQueueBytesMax, curves } = meshLimits
  return JSON.stringify({
    ...place,
    ticketKeys: [...ticketKeys],
    curves,
    backlogMax,
    connectionsMax,
    handshakeTimeoutMs,
    requestTimeoutMs,
    idleTimeoutMs,
    stallTimeoutMs,
    requestHeadBytesMax,
    requestHeadersMax,
    requestBytesMax,
    streamQueueBytesMax,
  })
}
