/**
 * Stands on one machine of a mesh test: answers UDP and HTTP, and asks others on command. A command
 * is one line of JSON on stdin, its answer one line on stdout.
 */
import { createSocket, type Socket } from 'node:dgram'
import { createServer, request as httpRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** What can be asked of it. */
export type ProbeCommand =
  | {
      readonly ask: 'ping'
      readonly address: string
      readonly timeoutMs: number
      /** How long each datagram is; what matters only on narrow ways. */
      readonly bytes?: number
    }
  | { readonly ask: 'get'; readonly url: string; readonly version: '1.1' | '2' }
  | { readonly ask: 'begin'; readonly address: string; readonly intervalMs: number }
  | { readonly ask: 'end' }

/** Its ports. */
export const probePorts = { echo: 7000, http: 8080 } as const
/** Longer than any packet, so that a wrong MTU shows. */
export const bodyBytes = 1_000_000

const name = process.argv[2] ?? ''

function echo(): void {
  const socket = createSocket({ type: 'udp6', ipv6Only: false })
  socket.on('message', (message, { address, port }) => socket.send(message, port, address))
  socket.bind(probePorts.echo)
}

function serve(): void {
  const server = createServer((_request, response) => {
    response.setHeader('x-node', name)
    response.end('x'.repeat(bodyBytes))
  })
  server.listen(probePorts.http, '::')
}

function open(address: string): Socket {
  return createSocket(isIP(address) === 6 ? 'udp6' : 'udp4')
}

/** Asks until there is an answer; how long that took, or null. */
async function ping(address: string, timeoutMs: number, bytes = 4): Promise<number | null> {
  const socket = open(address)
  const began = performance.now()
  let answered = false
  socket.on('message', () => (answered = true))
  while (!answered && performance.now() - began < timeoutMs) {
    socket.send(Buffer.alloc(bytes), probePorts.echo, address, () => undefined)
    await sleep(20)
  }
  socket.close()
  return answered ? performance.now() - began : null
}

/** What came of a flow. */
export interface FlowResult {
  readonly sent: number
  readonly lost: number
  readonly worstMs: number
  readonly gapMs: number
}

/** A flow: a packet in every interval, counted when it comes back. */
class Flow {
  readonly #socket: Socket
  readonly #timer: NodeJS.Timeout
  /** When each was sent. */
  readonly #sent: number[] = []
  readonly #came = new Set<string>()
  #worstMs = 0
  /** The longest time in which nothing came back. */
  #gapMs = 0
  #lastMs = performance.now()

  constructor(address: string, intervalMs: number) {
    this.#socket = open(address)
    this.#socket.on('message', (message) => {
      const text = message.toString()
      this.#came.add(text)
      const tookMs = performance.now() - (this.#sent[Number(text)] ?? 0)
      this.#worstMs = Math.max(this.#worstMs, tookMs)
      const nowMs = performance.now()
      this.#gapMs = Math.max(this.#gapMs, nowMs - this.#lastMs)
      this.#lastMs = nowMs
    })
    this.#timer = setInterval(() => {
      const number = this.#sent.push(performance.now()) - 1
      this.#socket.send(String(number), probePorts.echo, address, () => undefined)
    }, intervalMs)
  }

  async end(): Promise<FlowResult> {
    clearInterval(this.#timer)
    const sent = this.#sent.length
    const lastSentMs = this.#sent.at(-1) ?? 0
    const deadline = performance.now() + 5_000
    while (this.#came.size < sent && performance.now() < deadline) await sleep(20)
    this.#socket.close()
    const lost = sent - this.#came.size
    this.#gapMs = Math.max(this.#gapMs, lastSentMs - this.#lastMs)
    return { sent, lost, worstMs: this.#worstMs, gapMs: this.#gapMs }
  }
}

interface Got {
  readonly status: number
  readonly node: string
  readonly bytes: number
}

function get1(url: string): Promise<Got> {
  const ask = url.startsWith('https:') ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const sent = ask(url, { rejectUnauthorized: false }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => (bytes += chunk.length))
      response.on('end', () => {
        const node = String(response.headers['x-node'])
        resolve({ status: response.statusCode ?? 0, node, bytes })
      })
    })
    sent.on('error', reject)
    sent.end()
  })
}

function get2(url: string): Promise<Got> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(url, { rejectUnauthorized: false })
    session.on('error', reject)
    const stream = session.request({ ':path': '/' })
    const got = { status: 0, node: '', bytes: 0 }
    stream.on('response', (headers) => {
      got.status = Number(headers[':status'])
      got.node = String(headers['x-node'])
    })
    stream.on('data', (chunk: Buffer) => (got.bytes += chunk.length))
    stream.on('end', () => {
      session.close()
      resolve(got)
    })
    stream.on('error', reject)
  })
}

let flow: Flow | null = null

async function carryOut(command: ProbeCommand): Promise<unknown> {
  switch (command.ask) {
    case 'ping':
      return ping(command.address, command.timeoutMs, command.bytes)
    case 'get':
      return (command.version === '2' ? get2 : get1)(command.url)
    case 'begin':
      flow = new Flow(command.address, command.intervalMs)
      return null
    case 'end':
      return flow?.end() ?? null
    default:
      return command satisfies never
  }
}

if (process.argv[1] === import.meta.filename) {
  echo()
  serve()
  console.log('"ready"')
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await carryOut(JSON.parse(line) as ProbeCommand).catch((error: unknown) => ({
      error: String(error),
    }))
    console.log(JSON.stringify(answer))
  }
  process.exit(0)
}
