/**
 * Which endpoint of an upstream is next, and what is learnt from how it went. Each worker decides
 * alone: no worker waits for another. Who is ejected, the main thread says (`upstreams.ts`).
 */
import assert from 'node:assert'
import type { HashKey } from '../config/fields.ts'
import { cookieOf, stickyCookie } from './cookie.ts'
import type { EndpointLoad, EndpointLoads } from './endpoint-load.ts'
import type { EndpointState, UpstreamState } from './endpoint-state.ts'
import { RetryBudget, type RetryOptions } from './retry-budget.ts'
import {
  type Asker,
  type Candidates,
  Hash,
  LeastOutstanding,
  RoundRobin,
  type Strategy,
} from './strategies.ts'

/** How one upstream is balanced. */
export interface BalanceOptions {
  readonly name: string
  readonly balance: 'round-robin' | 'least-outstanding' | 'hash' | 'sticky'
  readonly hash: { readonly on: HashKey }
  readonly sticky: { readonly cookie: string | null }
  readonly ejection: { readonly consecutiveFailures: number; readonly serverErrors: boolean }
  readonly retry: RetryOptions
  readonly panic: boolean
  readonly slowStartMs: number
}

/** Where a request goes. */
export interface Choice {
  readonly endpoint: EndpointLoad
  /** Tried when `endpoint` fails and the attempt may be repeated; null: there is no other. */
  readonly alternative: EndpointLoad | null
  /** Whether one more attempt is within the budget. */
  readonly retry: boolean
  /** `Set-Cookie` of a client that was given a new endpoint; null: none. */
  readonly cookie: string | null
}

/** How an attempt ended, as far as it says something about the endpoint. */
export type Result = 'success' | 'failure'

/** What a balancer needs besides the upstreams. */
export interface BalancerOptions {
  /** The worker's slot: where its turns begin. */
  readonly offset: number
  readonly workers: number
  readonly loads: EndpointLoads
  /** Milliseconds that only grow. */
  readonly clock: () => number
  readonly random: () => number
}

// An endpoint that fails all day must not keep the main thread busy.
const tellIntervalMs = 1_000

/** All upstreams of one worker. */
export class Balancer {
  readonly #groups = new Map<string, Group>()
  readonly #options: BalancerOptions

  constructor(
    upstreams: readonly BalanceOptions[],
    states: readonly UpstreamState[],
    options: BalancerOptions,
  ) {
    this.#options = options
    for (const upstream of upstreams) {
      this.#groups.set(upstream.name, new Group(upstream, options))
    }
    this.update(states)
  }

  /** Takes over what the main thread says; upstreams that it does not name stay as they are. */
  update(states: readonly UpstreamState[]): void {
    const now = this.#options.clock()
    for (const { name, endpoints } of states) this.#groups.get(name)?.update(endpoints, now)
  }

  /** Every endpoint of every upstream, used or not. */
  get endpoints(): readonly EndpointLoad[] {
    return [...this.#groups.values()].flatMap(({ all }) => all)
  }

  /** The endpoint for a request; null when none may be used. Its end is told to `ended`. */
  choose(upstream: string, asker: Asker): Choice | null {
    const choice = this.#group(upstream).choose(asker)
    if (choice !== null) choice.endpoint.outstanding += 1
    return choice
  }

  /** The request is over, wherever it was sent in the end. */
  ended(endpoint: EndpointLoad): void {
    endpoint.outstanding -= 1
  }

  /** What an attempt says about an endpoint. */
  learn(id: number, result: Result): void {
    const endpoint = this.#options.loads.get(id)
    if (endpoint === null) return
    if (result === 'success') {
      endpoint.failuresInRow = 0
      return
    }
    endpoint.failuresInRow += 1
    const threshold = this.#groups.get(endpoint.upstream)?.options.ejection.consecutiveFailures
    if (threshold === undefined || threshold === 0 || endpoint.failuresInRow < threshold) return
    endpoint.failuresInRow = 0
    if (endpoint.health !== 'healthy') return
    // Told again, but seldom, when too many others were ejected to eject this one.
    const now = this.#options.clock()
    if (now - endpoint.toldAtMs < tellIntervalMs) return
    endpoint.toldAtMs = now
    this.#options.loads.fails(id)
  }

  /** An answer of 5xx, as the upstream's configuration counts it. */
  resultOf(upstream: string, status: number): Result {
    const { ejection } = this.#group(upstream).options
    return status >= 500 && ejection.serverErrors ? 'failure' : 'success'
  }

  /** A request of this upstream was sent once more. */
  retried(upstream: string): void {
    this.#groups.get(upstream)?.budget.retried(this.#options.clock())
  }

  /** The name of an endpoint in logs; '' for one that is long gone. */
  urlOf(id: number): string {
    return this.#options.loads.get(id)?.url ?? ''
  }

  #group(upstream: string): Group {
    const group = this.#groups.get(upstream)
    assert(group !== undefined, `no upstream ${upstream}`)
    return group
  }
}

// While endpoints warm up, shares are computed anew this often.
const warmingStepMs = 200
// The least share of an endpoint that has just come back: enough to learn whether it works.
const warmingShareMin = 0.1

/** One upstream of one worker. */
class Group {
  readonly options: BalanceOptions
  readonly budget: RetryBudget
  readonly #around: BalancerOptions
  readonly #strategy: Strategy
  readonly #cookieName: string | null
  /** Places of candidates, by what a sticky cookie calls them. */
  #byToken: ReadonlyMap<string, number> = new Map()
  all: readonly EndpointLoad[] = []
  #candidates: Candidates = { endpoints: [], weights: null, totalWeight: 0 }
  #refreshAtMs = Infinity

  constructor(options: BalanceOptions, around: BalancerOptions) {
    this.options = options
    this.#around = around
    const { budgetMin } = options.retry
    this.budget = new RetryBudget({ ...options.retry, budgetMin: budgetMin / around.workers })
    const inTurn = new RoundRobin(around.offset)
    this.#strategy = {
      'round-robin': inTurn,
      'least-outstanding': new LeastOutstanding(around.random),
      hash: new Hash(options.hash.on, inTurn),
      sticky: inTurn,
    }[options.balance]
    this.#cookieName =
      options.balance === 'sticky' ? (options.sticky.cookie ?? `edge_${options.name}`) : null
  }

  update(states: readonly EndpointState[], now: number): void {
    const { loads } = this.#around
    this.all = states.map((state) => loads.take(state, this.options.name, now))
    this.#refresh(now)
  }

  choose(asker: Asker): Choice | null {
    const now = this.#around.clock()
    if (now >= this.#refreshAtMs) this.#refresh(now)
    const { endpoints } = this.#candidates
    if (endpoints.length === 0) return null
    const kept = this.#kept(asker)
    const place = kept ?? this.#strategy.first(this.#candidates, asker)
    const endpoint = endpoints[place]
    assert(endpoint !== undefined, 'a strategy chose no candidate')
    const retry = this.budget.request(now)
    const other =
      retry && endpoints.length > 1 ? this.#strategy.second(this.#candidates, asker, place) : -1
    return {
      endpoint,
      alternative: endpoints[other] ?? null,
      retry,
      cookie:
        this.#cookieName === null || kept !== null
          ? null
          : stickyCookie(this.#cookieName, endpoint.token, asker.request.tls),
    }
  }

  /** The place of the endpoint that a cookie names; null when the client must get another one. */
  #kept({ request }: Asker): number | null {
    if (this.#cookieName === null) return null
    const token = cookieOf(request, this.#cookieName)
    return token === null ? null : (this.#byToken.get(token) ?? null)
  }

  #refresh(now: number): void {
    const { panic, slowStartMs } = this.options
    const usable = this.all.filter(({ health }) => health === 'healthy')
    const endpoints =
      usable.length > 0 || !panic
        ? usable
        : this.all.filter(({ health }) => health !== 'unresolved')
    this.#refreshAtMs = Infinity
    this.#byToken = new Map(endpoints.map(({ token }, place) => [token, place]))
    const weights = endpoints.map((load) => {
      const agoMs = load.returnedAtMs === null ? slowStartMs : now - load.returnedAtMs
      if (agoMs >= slowStartMs) return load.weight
      this.#refreshAtMs = now + warmingStepMs
      return load.weight * Math.max(warmingShareMin, agoMs / slowStartMs)
    })
    const equal = weights.every((weight) => weight === weights[0])
    this.#candidates = {
      endpoints,
      weights: equal ? null : weights,
      totalWeight: weights.reduce((sum, weight) => sum + weight, 0),
    }
  }
}
