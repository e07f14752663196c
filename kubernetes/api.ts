/** The API of Kubernetes: requests with a deadline, and watches, over undici. */
import { readFileSync } from 'node:fs'
import { Agent, request } from 'undici'

/** Where the API is and how to be known there. */
export interface ApiPlace {
  /** `https://10.96.0.1:443` */
  readonly server: string
  /** PEM; null: the system's. */
  readonly ca: string | null
  /** Read before each request: tokens of pods change every hour. Null: none is sent. */
  readonly tokenFile: string | null
}

/** The API answered with something else than was asked for. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number

  constructor(status: number, message: string) {
    super(`the API answered ${status}: ${message}`)
    this.status = status
  }
}

const requestTimeoutMs = 5_000
/** A server sends a bookmark about once a minute: silence of this length is a lost connection. */
const watchSilenceMs = 150_000
/** One page of a list, one event of a watch: etcd keeps objects below 1.5 MiB. */
const answerBytesMax = 32 * 1024 * 1024
const eventBytesMax = 4 * 1024 * 1024

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** One connection pool to one API server. */
export class Api {
  readonly #place: ApiPlace
  readonly #agent: Agent

  constructor(place: ApiPlace) {
    this.#place = place
    const connect = { timeout: requestTimeoutMs, ...(place.ca === null ? {} : { ca: place.ca }) }
    this.#agent = new Agent({ connect, headersTimeout: requestTimeoutMs })
  }

  /** Sends one request; the answer's JSON. Throws `ApiError` for any status but 2xx. */
  call(method: Method, path: string, body?: unknown): Promise<unknown> {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    return this.#send(method, path, { type, body })
  }

  /** Server-side apply: what `body` names is the manager's from then on. */
  apply(path: string, manager: string, body: object): Promise<unknown> {
    const query = new URLSearchParams({ fieldManager: manager, force: 'true' }).toString()
    return this.#send('PATCH', `${path}?${query}`, { type: 'application/apply-patch+yaml', body })
  }

  async #send(
    method: Method,
    path: string,
    { type, body }: { readonly type: string; readonly body: unknown },
  ): Promise<unknown> {
    const answer = await request(this.#url(path), {
      method,
      dispatcher: this.#agent,
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: { ...this.#headers(), ...(body === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await textOf(answer.body)
    if (answer.statusCode < 200 || answer.statusCode > 299) {
      throw new ApiError(answer.statusCode, reasonIn(text))
    }
    return JSON.parse(text)
  }

  /** The events of a watch until it ends, one JSON value each. */
  async *watch(path: string, signal: AbortSignal): AsyncGenerator<unknown> {
    const answer = await request(this.#url(path), {
      dispatcher: this.#agent,
      signal,
      headers: this.#headers(),
      bodyTimeout: watchSilenceMs,
    })
    if (answer.statusCode !== 200) {
      throw new ApiError(answer.statusCode, reasonIn(await textOf(answer.body)))
    }
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of answer.body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > eventBytesMax) throw new Error('an event of the watch is too long')
      for (const line of lines) if (line !== '') yield JSON.parse(line)
    }
  }

  /** Ends all that is under way. */
  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  #url(path: string): string {
    return this.#place.server + path
  }

  #headers(): Record<string, string> {
    const { tokenFile } = this.#place
    const headers = { accept: 'application/json', 'user-agent': 'edge-controller' }
    if (tokenFile === null) return headers
    return { ...headers, authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` }
  }
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > answerBytesMax) throw new Error('the answer of the API is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** The message of a `Status` object, or the beginning of whatever else it is. */
function reasonIn(text: string): string {
  const message = /"message":\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1]
  return (message ?? text).slice(0, 300)
}
