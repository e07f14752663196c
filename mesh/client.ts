/** The other end of the coordinator's API. */
import { gunzipSync } from 'node:zlib'
import { z } from 'zod'
import {
  delta,
  type JoinAnswer,
  joinAnswer,
  recordAnswer,
  type Report,
  type SignedRecord,
  snapshot,
  tokenAnswer,
  type TokenRequest,
} from './entry.ts'
import { MeshFault } from './fault.ts'
import type { Identity } from './identity.ts'
import { meshLimits } from './limits.ts'
import { type Pin, PinnedPlace } from './pinned.ts'
import { heard } from './silence.ts'
import type { AdminKey } from './token.ts'
import type { View } from './view.ts'

type Said =
  | StreamEvent
  /** It lives, and says the next word within that time. */
  | { readonly kind: 'ping'; readonly pingMs: number }

/** Something that the coordinator tells. */
export type StreamEvent =
  | { readonly kind: 'hello'; readonly spreadMs: number; readonly pingMs: number }
  | { readonly kind: 'snapshot'; readonly snapshot: z.infer<typeof snapshot> }
  | { readonly kind: 'delta'; readonly delta: z.infer<typeof delta> }

/** What a stream begins with; older coordinators say nothing there. */
const hello = z.object({
  spreadMs: z.number().min(0).default(0),
  pingMs: z.number().min(0).default(meshLimits.pingIntervalMs),
})
const ping = z.number().min(0)

const faultBody = z.object({
  code: z.string(),
  where: z.string(),
  message: z.string(),
  mend: z.string(),
})

/** `url` is `https://HOST:PORT`; `pin` is what its certificate's key must hash to. */
export class CoordinatorClient {
  readonly #place: PinnedPlace

  /** Without an identity it can only ask for tokens. */
  constructor(url: string, pin: Pin, identity: Identity | null) {
    this.#place = new PinnedPlace(url, pin, identity)
  }

  async join(signed: SignedRecord, token: string): Promise<JoinAnswer> {
    return joinAnswer.parse(await this.#post('/v1/join', { ...signed, token }))
  }

  /** The text of a new token. */
  async token(order: TokenRequest, { secret }: AdminKey): Promise<string> {
    const authorization = `Bearer ${secret.toString('base64url')}`
    return tokenAnswer.parse(await this.#post('/v1/tokens', order, { authorization })).token
  }

  /** Whether every connected node has said that it knows. */
  async update(signed: SignedRecord): Promise<boolean> {
    return recordAnswer.parse(await this.#post('/v1/record', signed)).isKnown
  }

  async report(report: Report): Promise<void> {
    await this.#post('/v1/report', report)
  }

  /** It ends: those for whom others stand in are marked as away at once. */
  async leave(): Promise<void> {
    await this.#post('/v1/leave', {})
  }

  /** What changes after a view, until the stream ends. */
  async *watch({ version, hash }: View, signal: AbortSignal): AsyncGenerator<StreamEvent> {
    const { pingIntervalMsMax, streamSilenceMs, streamSilencePings } = meshLimits
    const resume = `from=${version}&hash=${hash}&patience=${pingIntervalMsMax}`
    const headers = { accept: 'text/event-stream' }
    const path = `/v1/watch?${resume}`
    const answer = await this.#place.ask({ method: 'GET', path, headers, signal })
    if (answer.statusCode !== 200) throw faultIn(await limitedText(answer), answer.statusCode)
    const silence = { ms: streamSilenceMs as number }
    for await (const { name, text } of events(heard(answer, silence))) {
      const event = eventOf(name, text)
      if (event?.kind === 'hello' || event?.kind === 'ping') {
        const pingMs = Math.min(event.pingMs, pingIntervalMsMax)
        silence.ms = Math.max(streamSilenceMs, pingMs * streamSilencePings)
      }
      if (event !== null && event.kind !== 'ping') yield event
    }
  }

  async close(): Promise<void> {
    this.#place.close()
  }

  async #post(
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const text = JSON.stringify(body)
    const answer = await this.#place.ask({
      method: 'POST',
      path,
      headers: {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(text)),
        ...headers,
      },
      body: text,
      signal: AbortSignal.timeout(meshLimits.requestTimeoutMs),
    })
    const answered = await limitedText(answer)
    if (answer.statusCode !== 200) throw faultIn(answered, answer.statusCode)
    return JSON.parse(answered)
  }
}

/** Null for events that are not known here: a newer coordinator's. */
function eventOf(name: string, text: string): Said | null {
  const value = (): unknown => JSON.parse(name.endsWith('-gzip') ? inflated(text) : text)
  if (name === 'hello') return { kind: 'hello', ...hello.parse(value()) }
  if (name.startsWith('snapshot')) return { kind: 'snapshot', snapshot: snapshot.parse(value()) }
  if (name === 'ping') return { kind: 'ping', pingMs: ping.parse(value()) }
  return name === 'delta' ? { kind: 'delta', delta: delta.parse(value()) } : null
}

function inflated(text: string): string {
  const maxOutputLength = meshLimits.eventBytesMax
  return gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength }).toString('utf8')
}

/** A refusal in the coordinator's words; anything else is a failure, to be tried again. */
function faultIn(text: string, status = 0): Error {
  try {
    const { code, ...words } = faultBody.parse(JSON.parse(text))
    return new MeshFault(code, words)
  } catch {
    return new Error(`the coordinator answered ${status}`)
  }
}

async function limitedText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > meshLimits.requestBytesMax) throw new Error('the coordinator answered too much')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Server-sent events (HTML); our coordinator writes one line of `data` in each. */
async function* events(
  body: AsyncIterable<Buffer>,
): AsyncGenerator<{ readonly name: string; readonly text: string }> {
  const decoder = new TextDecoder()
  let chunks: string[] = []
  let length = 0
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true })
    chunks.push(text)
    length += text.length
    if (length > meshLimits.eventBytesMax) throw new Error('an event of the stream is too long')
    if (!text.includes('\n')) continue
    const blocks = chunks.join('').split('\n\n')
    const rest = blocks.pop() ?? ''
    chunks = [rest]
    length = rest.length
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block)?.[1]
      const text = /^data: (.*)$/m.exec(block)?.[1]
      if (name !== undefined && text !== undefined) yield { name, text }
    }
  }
}
