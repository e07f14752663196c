/** Sends raw bytes and reads the answers, with everything bounded in time. */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Answer, parseAnswer } from './strict-parser.ts'

/** Where to, and how. */
export interface Target {
  readonly port: number
  readonly tls?: boolean
}

/** One connection; texts are latin1. */
export class RawClient {
  readonly #socket: Socket
  readonly #patienceMs: number
  #text = ''
  #ended = false
  #wake: () => void = () => {}

  constructor({ port, tls }: Target, patienceMs = 5000) {
    this.#patienceMs = patienceMs
    this.#socket = tls
      ? connectTls({
          port,
          host: '127.0.0.1',
          rejectUnauthorized: false,
          ALPNProtocols: ['http/1.1'],
        })
      : connect({ port, host: '127.0.0.1' })
    this.#socket.setNoDelay(true)
    this.#socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      this.#wake()
    })
    const end = () => {
      this.#ended = true
      this.#wake()
    }
    this.#socket.on('error', end).on('end', end).on('close', end)
  }

  send(text: string): void {
    this.#socket.write(Buffer.from(text, 'latin1'))
  }

  /** The next final answer; a text says why there is none. Interim ones are skipped. */
  async answer(method: string): Promise<Answer | string> {
    const deadline = Date.now() + this.#patienceMs
    for (;;) {
      const parsed = parseAnswer(this.#text, method)
      if (parsed.kind === 'fault') return `answer with ${parsed.fault}`
      if (parsed.kind === 'whole') {
        this.#text = parsed.rest
        if (parsed.message.status >= 200 || parsed.message.status === 101) return parsed.message
        continue
      }
      if (this.#ended) return this.#text === '' ? 'closed' : `closed within ${this.#text}`
      if (!(await this.#news(deadline))) return 'no answer in time'
    }
  }

  /** The status of the next interim answer; a text says why there is none. */
  async interim(): Promise<number | string> {
    const deadline = Date.now() + this.#patienceMs
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n')
      if (end !== -1) {
        const status = /^HTTP\/1\.1 (1\d\d) /.exec(this.#text)?.[1]
        if (status === undefined) return `no interim answer: ${this.#text.slice(0, 100)}`
        this.#text = this.#text.slice(end + 4)
        return Number(status)
      }
      if (this.#ended || !(await this.#news(deadline))) return 'no interim answer'
    }
  }

  /** Whether the edge closes now; false when it has not in time. */
  async closes(): Promise<boolean> {
    const deadline = Date.now() + this.#patienceMs
    while (!this.#ended) if (!(await this.#news(deadline))) return false
    return true
  }

  /** What was read and belongs to no answer. */
  get rest(): string {
    return this.#text
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async #news(deadline: number): Promise<boolean> {
    const left = deadline - Date.now()
    if (left <= 0) return false
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), left)
      this.#wake = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }
}
