/** A backend that keeps what reaches it, byte by byte, and understands only what is unambiguous. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { all, parseRequest, parseRequestHead, type Understood } from './strict-parser.ts'

/** What reached the backend since some moment. */
export interface Recorded {
  readonly bytes: number
  readonly requests: readonly Understood[]
  /** What a backend could have read in more than one way, or should not have got at all. */
  readonly faults: readonly string[]
}

const webSocketGuid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const kept = 100_000

/**
 * Answers every request with 200 and `ok`. `/early…` is answered before its body was read, `/ws`
 * with 101 and an echo.
 */
export class Recorder {
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly #sockets = new Set<Socket>()
  #bytes = 0
  #requests: Understood[] = []
  #faults: string[] = []

  /** Listens on a free port of the loopback; the URL for `--backend`. */
  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
  }

  /** What came since the last call. */
  take(): Recorded {
    const recorded = { bytes: this.#bytes, requests: this.#requests, faults: this.#faults }
    this.#bytes = 0
    this.#requests = []
    this.#faults = []
    return recorded
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    let text = ''
    let early = false
    const read = (chunk: Buffer) => {
      this.#bytes += chunk.length
      text += chunk.toString('latin1')
      for (;;) {
        const head = early ? null : parseRequestHead(text)
        if (head?.target.startsWith('/early')) {
          early = true
          socket.write(answer('early'))
        }
        const parsed = parseRequest(text)
        if (parsed.kind === 'more') return
        if (parsed.kind === 'fault') {
          this.#fault(`${parsed.fault} in ${JSON.stringify(text.slice(0, 2000))}`)
          socket.destroy()
          return
        }
        text = parsed.rest
        const { message } = parsed
        if (this.#requests.length < kept) this.#requests.push(message)
        if (message.target.startsWith('/ws')) {
          socket.off('data', read)
          socket.write(switching(message))
          socket.on('data', (piece: Buffer) => this.#echo(socket, piece))
          if (text !== '') this.#fault('bytes before 101')
          return
        }
        if (!early) socket.write(answer('ok', message.method))
        early = false
      }
    }
    socket.on('data', read)
  }

  #echo(socket: Socket, piece: Buffer): void {
    this.#bytes += piece.length
    socket.write(piece)
  }

  #fault(fault: string): void {
    if (this.#faults.length < 100) this.#faults.push(fault)
  }
}

function answer(body: string, method = 'GET'): string {
  const head = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`
  return method === 'HEAD' ? head : head + body
}

function switching({ fields }: Understood): string {
  const key = all(fields, 'sec-websocket-key')[0] ?? ''
  const accept = createHash('sha1')
    .update(key + webSocketGuid)
    .digest('base64')
  const lines = ['upgrade: websocket', 'connection: Upgrade', `sec-websocket-accept: ${accept}`]
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`
}
