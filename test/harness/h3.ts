/**
 * HTTP/3 for tests through aioquic (test/clients/h3_client.py), kept in a virtual environment under
 * .cache.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './edge.ts'
import { pythonWith } from './python.ts'

/** What an HTTP/3 request of a test is made of. */
export interface H3Request {
  readonly method: string
  readonly path: string
  readonly authority: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body?: Buffer
  /** Send exactly `headers` as the field section, pseudo-headers included. */
  readonly bare?: boolean
}

/** The answer; `error` says how the stream or connection ended when there is no clean answer. */
export interface H3Answer {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
  readonly error: string | null
}

/** The interpreter that has aioquic; makes the virtual environment once. */
export function pythonWithAioquic(): string {
  return pythonWith('aioquic==1.7.2')
}

/** One aioquic process with one connection at a time to `127.0.0.1:port`. */
export class H3Client {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: H3Answer) => void>()
  #next = 1

  constructor(port: number, serverName = 'localhost') {
    const script = join(root, 'test/clients/h3_client.py')
    this.#child = spawn(pythonWithAioquic(), [script, String(port), serverName], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const output = this.#child.stdout
    if (!output) throw new Error('the aioquic client has no output')
    createInterface({ input: output }).on('line', (line) => this.#answered(line))
    this.#child.on('exit', () => this.#lost())
  }

  /** Sends one request; many may be under way at once. */
  request(request: H3Request): Promise<H3Answer> {
    const id = this.#next++
    const line = JSON.stringify({ id, ...request, body: request.body?.toString('base64') ?? '' })
    this.#child.stdin?.write(`${line}\n`)
    return new Promise((resolve) => this.#waiting.set(id, resolve))
  }

  close(): void {
    this.#child.kill()
  }

  #answered(line: string): void {
    const answer = JSON.parse(line) as H3Answer & { id: number; body: unknown }
    const body = Buffer.from(String(answer.body), 'base64')
    this.#waiting.get(answer.id)?.({ ...answer, body })
    this.#waiting.delete(answer.id)
  }

  #lost(): void {
    const answer: H3Answer = {
      status: 0,
      headers: [],
      body: Buffer.alloc(0),
      error: 'client ended',
    }
    for (const resolve of this.#waiting.values()) resolve(answer)
    this.#waiting.clear()
  }
}
