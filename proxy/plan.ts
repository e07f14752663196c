/** What a worker tells the wire to do with an exchange: plain data, and its encoding. */
import assert from 'node:assert'
import { type BodyExtent, bodyExtents } from './body-extent.ts'

/** One field, name as it is to be sent. Values are Latin-1: one character per byte. */
export type HeaderField = readonly [name: string, value: string]

/** Answer the client now, in place of a backend. */
export interface RespondPlan {
  readonly kind: 'respond'
  readonly status: number
  readonly headers: readonly HeaderField[]
  readonly body: string
  /** Close the connection after it. Where the body is unread, the wire closes by itself. */
  readonly close: boolean
}

/** Collect the request body in the wire, up to `maxBytes`, and call again. */
export interface ReadBodyPlan {
  readonly kind: 'read-body'
  readonly maxBytes: number
}

/** One change to a message head, applied in order after hop-by-hop fields are gone. */
export type HeaderEdit =
  | { readonly op: 'set' | 'append'; readonly name: string; readonly value: string }
  | { readonly op: 'remove'; readonly name: string }

/** Which response bodies the wire holds and hands over together with their heads. */
export interface ResponseHold {
  readonly bytesMax: number
  /** A longer body is refused: one that says its length is not worth reading. */
  readonly rejectsLonger: boolean
  /** Lower-case media types, apart by spaces; of others only the head is shown. */
  readonly mediaTypes: string
}

/** Send the request to one endpoint and its response to the client. */
export interface ForwardPlan {
  readonly kind: 'forward'
  readonly endpoint: number
  /** Tried when no connection to `endpoint` came about, and with `retry`. */
  readonly alternatives: readonly number[]
  /** Sending once more is allowed where it does no harm. */
  readonly retry: boolean
  /** The request opens a WebSocket: a 101 of the endpoint becomes a tunnel. */
  readonly tunnel: boolean
  /** Every trailer passes (gRPC), not only those that the wire's list allows. */
  readonly allTrailers: boolean
  /** What of the response the worker sees before the client does. */
  readonly inspectResponse: 'none' | 'head' | ResponseHold
  readonly connectTimeoutMs: number
  readonly firstByteTimeoutMs: number
  readonly idleTimeoutMs: number
  /** Null: no limit. */
  readonly bodyBytesMax: number | null
  /** The header template that the wire fills in before the edits, from 1; 0: none. */
  readonly template: number
  /** What the template calls `%{request-id}`. */
  readonly requestId: string
  readonly requestEdits: readonly HeaderEdit[]
  readonly responseEdits: readonly HeaderEdit[]
}

/** Let the held response go to the client. */
export interface PassResponsePlan {
  readonly kind: 'pass-response'
  readonly responseEdits: readonly HeaderEdit[]
}

/** Collect the response body, up to `maxBytes`, and call again. */
export interface ReadResponseBodyPlan {
  readonly kind: 'read-response-body'
  readonly maxBytes: number
}

/** Ask the WAF service, and call again with what it says. */
export interface AskPlan {
  readonly kind: 'ask'
  readonly moment: 'head' | 'body' | 'response' | 'response-body'
  /** How much of the response's body is shown. */
  readonly extent: BodyExtent
  /** ASCII. */
  readonly question: string
}

/** In the service: the answer to a proxy's question. */
export interface VerdictPlan {
  readonly kind: 'verdict'
  /** Nothing of the exchange is kept. */
  readonly isLast: boolean
  /** Phase 2 waits for the request's body. */
  readonly wantsBody: boolean
  /** ASCII. */
  readonly answer: string
}

/** In the service: it cannot answer, another one may. The index of the error's name. */
export interface RefusePlan {
  readonly kind: 'refuse'
  readonly error: number
}

/** Everything is known about the exchange: its number may be used again. */
export interface DonePlan {
  readonly kind: 'done'
}

/** The next thing the wire does with an exchange. */
export type Plan =
  | RespondPlan
  | ReadBodyPlan
  | ForwardPlan
  | PassResponsePlan
  | ReadResponseBodyPlan
  | AskPlan
  | VerdictPlan
  | RefusePlan
  | DonePlan

/** Frees the exchange in the wire. */
export const donePlan: DonePlan = { kind: 'done' }

const kinds = {
  respond: 1,
  'read-body': 2,
  forward: 3,
  'pass-response': 4,
  'read-response-body': 5,
  done: 6,
  ask: 7,
  verdict: 8,
  refuse: 9,
} as const satisfies Record<Plan['kind'], number>

function inspectionFlags(inspection: ForwardPlan['inspectResponse']): number {
  if (inspection === 'none') return 0
  if (inspection === 'head') return 1
  // The body implies the head.
  return 3 | (inspection.rejectsLonger ? 32 : 0)
}

const moments = { head: 0, body: 1, response: 2, 'response-body': 3 } as const

const editOps = { set: 0, append: 1, remove: 2 } as const

const word = 2 ** 32
const initialBytes = 64 * 1024

const tokenBytes = new Uint8Array(256)
// RFC 9110 §5.6.2.
for (let code = 0; code < 256; code += 1) {
  if (/[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(code))) tokenBytes[code] = 1
}

/** Plans of one turn, one after the other, in one buffer that only grows. */
export class PlanWriter {
  #buffer = Buffer.allocUnsafeSlow(initialBytes)
  #length = 0

  /** The buffer; only its first `length` bytes count. Valid until the next `write`. */
  get bytes(): Buffer {
    return this.#buffer
  }

  get length(): number {
    return this.#length
  }

  clear(): void {
    this.#length = 0
  }

  /** Adds one plan. A broken header leaves the plans before it whole. */
  write(exchange: number, plan: Plan): void {
    const start = this.#length
    try {
      this.#u8(kinds[plan.kind])
      this.#u32(exchange)
      this.#fields(plan)
    } catch (error) {
      this.#length = start
      throw error
    }
  }

  #fields(plan: Plan): void {
    switch (plan.kind) {
      case 'respond':
        return this.#respond(plan)
      case 'forward':
        return this.#forward(plan)
      case 'read-body':
      case 'read-response-body':
        return this.#u32(plan.maxBytes)
      case 'pass-response':
        return this.#edits(plan.responseEdits)
      case 'ask':
        this.#u8(moments[plan.moment])
        this.#u8(bodyExtents.indexOf(plan.extent))
        return this.#longText(plan.question)
      case 'verdict':
        this.#u8((plan.isLast ? 1 : 0) | (plan.wantsBody ? 2 : 0))
        return this.#longText(plan.answer)
      case 'refuse':
        return this.#u16(plan.error)
      case 'done':
        return
    }
  }

  #respond(plan: RespondPlan): void {
    this.#u16(plan.status)
    this.#u8(plan.close ? 1 : 0)
    this.#u16(plan.headers.length)
    for (const [name, value] of plan.headers) {
      this.#name(name)
      this.#value(value)
    }
    const bodyBytes = Buffer.byteLength(plan.body)
    this.#u32(bodyBytes)
    this.#reserve(bodyBytes)
    this.#length += this.#buffer.write(plan.body, this.#length, 'utf8')
  }

  #forward(plan: ForwardPlan): void {
    this.#u32(plan.endpoint)
    const { inspectResponse } = plan
    this.#u8(
      inspectionFlags(inspectResponse) |
        (plan.tunnel ? 4 : 0) |
        (plan.retry ? 8 : 0) |
        (plan.allTrailers ? 16 : 0),
    )
    this.#u8(plan.alternatives.length)
    for (const endpoint of plan.alternatives) this.#u32(endpoint)
    this.#u32(plan.connectTimeoutMs)
    this.#u32(plan.firstByteTimeoutMs)
    this.#u32(plan.idleTimeoutMs)
    this.#u32(plan.bodyBytesMax === null ? word - 1 : plan.bodyBytesMax % word)
    this.#u32(plan.bodyBytesMax === null ? word - 1 : Math.floor(plan.bodyBytesMax / word))
    this.#u8(plan.template)
    this.#text(plan.requestId)
    if (typeof inspectResponse === 'object') {
      this.#u32(inspectResponse.bytesMax)
      this.#text(inspectResponse.mediaTypes)
    }
    this.#edits(plan.requestEdits)
    this.#edits(plan.responseEdits)
  }

  #edits(edits: readonly HeaderEdit[]): void {
    this.#u16(edits.length)
    for (const edit of edits) {
      this.#u8(editOps[edit.op])
      this.#name(edit.name)
      this.#value(edit.op === 'remove' ? '' : edit.value)
    }
  }

  #name(name: string): void {
    this.#u16(name.length)
    this.#reserve(name.length)
    // By hand: for texts this short a call into native code costs more than the loop.
    let sound = name !== ''
    for (let index = 0; index < name.length; index += 1) {
      const code = name.charCodeAt(index)
      sound &&= tokenBytes[code] === 1
      this.#buffer[this.#length + index] = code
    }
    assert(sound, `not a field name: ${JSON.stringify(name)}`)
    this.#length += name.length
  }

  /** A text of our own making: a length of two bytes, then one byte per character. */
  #text(text: string): void {
    this.#u16(text.length)
    this.#reserve(text.length)
    this.#length += this.#buffer.write(text, this.#length, 'latin1')
  }

  #longText(text: string): void {
    this.#u32(text.length)
    this.#reserve(text.length)
    this.#length += this.#buffer.write(text, this.#length, 'latin1')
  }

  #value(value: string): void {
    this.#u32(value.length)
    this.#reserve(value.length)
    let sound = true
    for (let index = 0; index < value.length; index += 1) {
      const code = value.charCodeAt(index)
      // RFC 9110 §5.5. Above U+00FF the encoding would drop high bits, so that U+010A became LF: a
      // response splitting hole if it were let through.
      sound &&= code !== 0 && code !== 10 && code !== 13 && code < 256
      this.#buffer[this.#length + index] = code
    }
    assert(sound, `not a field value: ${JSON.stringify(value)}`)
    this.#length += value.length
  }

  #u8(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#length] = value
    this.#length += 1
  }

  #u16(value: number): void {
    this.#reserve(2)
    this.#length = this.#buffer.writeUInt16LE(value, this.#length)
  }

  #u32(value: number): void {
    this.#reserve(4)
    this.#length = this.#buffer.writeUInt32LE(value, this.#length)
  }

  #reserve(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}
