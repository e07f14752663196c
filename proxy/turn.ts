/** One turn of a worker: take what the wire has, serve each, answer all at once. */
import assert from 'node:assert'
import { randomUUIDv7 } from 'node:crypto'
import type { AccessEntry } from './access-log.ts'
import { refusalEntry } from './access-entry.ts'
import type { Received, WireRefusal } from './batch.ts'
import type { Explain } from './events/recorder.ts'
import { Exchange } from './exchange.ts'
import { requestIdOf } from './forwarding.ts'
import { type Plan, donePlan } from './plan.ts'
import type { KnownHeaders, RequestHead } from './request.ts'
import { Rounds } from './rounds.ts'
import {
  type Edge,
  conclude,
  serve,
  serveBody,
  serveResponse,
  serveResponseBody,
  serveUninspected,
  serveVerdict,
} from './serve.ts'
import { UnderWay } from './under-way.ts'
import type { Heard } from './waf-service/asking.ts'
import type { WorkerPort } from './wire.ts'

/** What a turn needs; `now` and `clock` make time an argument. */
export interface TurnOptions {
  readonly port: Pick<WorkerPort, 'take' | 'answer'>
  readonly known: KnownHeaders
  /** The first snapshot; `swap` replaces it. */
  readonly edge: Edge
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Milliseconds that only grow. */
  readonly clock: () => number
  /** Runs before an exchange is served: the place of the test hooks. */
  readonly onHead: (request: RequestHead) => void
  /** `explain` may be called before it returns: the addon still holds the exchange. */
  readonly onEntry: (entry: AccessEntry, explain: Explain) => void
  /** The WAF took so long for a step; where a service inspects, its answer did. */
  readonly onInspected: (phase: number, milliseconds: number) => void
  /** The last exchange of a snapshot that was replaced is over. */
  readonly onReleased?: (edge: Edge) => void
  /** An exchange that could not be inspected because the code failed, not the request. */
  readonly onFailure: (error: unknown, exchange: Exchange) => void
}

type Step = Extract<Received, { kind: 'body' | 'response' | 'response-body' }>

/** An exchange, and the snapshot that it keeps from its head to its outcome. */
interface Pinned {
  readonly exchange: Exchange
  readonly edge: Edge
  /** When the WAF service was asked last, on the worker's clock. */
  askedMs: number
}

/** The exchanges of one worker. */
export class Turn {
  readonly #options: TurnOptions
  readonly #exchanges = new UnderWay<Pinned>()
  /** Exchanges under way, by the snapshot they began with. */
  readonly #pins = new Map<Edge, number>()
  #edge: Edge
  readonly #rounds: Rounds

  constructor(options: TurnOptions) {
    this.#options = options
    this.#rounds = new Rounds(options.port, options.known)
    this.#edge = options.edge
  }

  /** Exchanges that begin from now on are decided by `edge`. */
  swap(edge: Edge): void {
    const before = this.#edge
    this.#edge = edge
    if (before !== edge && !this.#pins.has(before)) this.#options.onReleased?.(before)
  }

  /** Runs until the wire has nothing more. */
  run(): void {
    this.#rounds.run((received) => this.#receive(received))
  }

  #receive(received: Received): void {
    switch (received.kind) {
      case 'head':
        return this.#head(received.id, received.head)
      case 'refusal':
        return this.#refused(received.refusal)
      case 'outcome':
        return this.#conclude(received)
      case 'body':
      case 'response':
      case 'response-body': {
        const pinned = this.#exchanges.get(received.id)
        // Its outcome came first: the client went away while the wire collected the body.
        if (pinned === null) return
        return this.#plan(pinned, phases[received.kind], () => step(pinned, received))
      }
      case 'verdict':
        return this.#verdict(received)
      case 'question':
      case 'end':
        throw new assert.AssertionError({ message: 'only a WAF service is asked' })
    }
  }

  #verdict({ id, error, text }: Extract<Received, { kind: 'verdict' }>): void {
    const pinned = this.#exchanges.get(id)
    const asked = pinned?.exchange.asked ?? null
    if (pinned === null || asked === null) return
    const { exchange, edge } = pinned
    const heard: Heard =
      error === null ? { text, error } : { text: null, error: edge.errorCodes[error] ?? 'INTERNAL' }
    // The last words on an exchange of which only the outcome is still to come.
    if (asked.moment === null) return void asked.hear(heard)
    const phase = phases[asked.moment]
    const { clock, onInspected } = this.#options
    if (error === null) onInspected(phase, clock() - pinned.askedMs)
    this.#plan(pinned, phase, () => serveVerdict(exchange, heard, edge))
  }

  #head(id: number, request: RequestHead): void {
    const { now, onHead } = this.#options
    const edge = this.#edge
    onHead(request)
    const exchange = new Exchange({
      id,
      request,
      requestId: requestIdOf(request, edge.trusted),
      clientAddress: edge.trusted.clientOf(request),
      timeMs: now(),
    })
    const pinned = { exchange, edge, askedMs: 0 }
    this.#exchanges.set(id, pinned)
    this.#pins.set(edge, (this.#pins.get(edge) ?? 0) + 1)
    if (request.orphan) exchange.route = edge.router.match(request)
    else this.#plan(pinned, 1, () => serve(exchange, edge))
  }

  /**
   * Writes the plan of one moment. A failure there costs this exchange alone; what it leaves
   * undecided follows `waf.onFailure`, and after the forwarding it is always a refusal.
   */
  #plan(pinned: Pinned, phase: number, decide: () => Plan): void {
    const { exchange, edge } = pinned
    const { clock, onFailure, onInspected } = this.#options
    const started = clock()
    try {
      const decided = decide()
      this.#rounds.plans.write(exchange.id, decided)
      if (decided.kind === 'ask') pinned.askedMs = started
      if (exchange.transaction !== null) onInspected(phase, clock() - started)
    } catch (error) {
      onFailure(error, exchange)
      const plan = phase < 3 ? uninspected(exchange, edge) : exchange.fail('WAF_UNAVAILABLE')
      this.#rounds.plans.write(exchange.id, plan)
    }
  }

  #conclude({ id, outcome }: Extract<Received, { kind: 'outcome' }>): void {
    const pinned = this.#exchanges.take(id)
    this.#rounds.plans.write(id, donePlan)
    if (pinned === null) return
    const { exchange, edge } = pinned
    try {
      this.#options.onEntry(conclude(exchange, outcome, edge), explainer(pinned))
    } catch (error) {
      this.#options.onFailure(error, exchange)
    }
    this.#unpin(edge)
  }

  #unpin(edge: Edge): void {
    const left = (this.#pins.get(edge) ?? 0) - 1
    if (left > 0) {
      this.#pins.set(edge, left)
      return
    }
    this.#pins.delete(edge)
    if (edge !== this.#edge) this.#options.onReleased?.(edge)
  }

  #refused(refusal: WireRefusal): void {
    const { now, onEntry } = this.#options
    const edge = this.#edge
    const listener = edge.listeners[refusal.listener] ?? ''
    const error = edge.errorCodes[refusal.error] ?? 'INTERNAL'
    const known = { listener, error, requestId: randomUUIDv7() }
    onEntry(refusalEntry(refusal, known, now()), null)
  }
}

/** Why the WAF decided as it did; only asked for exchanges that are told about. */
function explainer({ exchange, edge }: Pinned): Explain {
  const { asked, transaction } = exchange
  const evidence = asked?.told?.evidence ?? null
  if (evidence !== null) return () => evidence
  const { waf } = edge
  if (waf === null || transaction === null || transaction.matched.length === 0) return null
  return (isFull) => waf.evidence(transaction, isFull)
}

/** The WAF phase with which each moment begins. */
const phases = { head: 1, body: 2, response: 3, 'response-body': 4 } as const

function step({ exchange, edge }: Pinned, received: Step): Plan {
  if (received.kind === 'body') return serveBody(exchange, received.status, edge)
  if (received.kind === 'response') return serveResponse(exchange, received, edge)
  return serveResponseBody(exchange, received.body, edge)
}

function uninspected(exchange: Exchange, edge: Edge): Plan {
  try {
    return serveUninspected(exchange, edge)
  } catch {
    return exchange.fail('INTERNAL')
  }
}
