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
  /** Tried when `endpoint` cannot be connected to, or may be asked again; null: there is none. */
  readonly alternative: EndpointLoad | null
  /** Whether sending it once more is within the budget. */
  readonly retry: boolean
  /** `Set-Cookie` of a client that was given a new endpoint; null: none. */
  readonly cookie: string | null
}

/**
 * How an attempt ended, as far as it says something about the endpoint. `unreachable` is a failure
 * before anything was sent: this worker asks the others at once, without waiting for the main
 * thread, and every `trialIntervalMs` one request tries whether the endpoint is back. That costs
 * the request nothing where connections are refused: it goes on to the alternative.
 */
export type Result = 'success' | 'failure' | 'unreachable'

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
const trialIntervalMs = 1_000

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
    const group = this.#groups.get(endpoint.upstream)
    if (result === 'success') {
      endpoint.failuresInRow = 0
      if (endpoint.avoidUntilMs !== 0) group?.welcome(endpoint)
      return
    }
    if (result === 'unreachable') group?.avoid(endpoint)
    endpoint.failuresInRow += 1
    const threshold = group?.options.ejection.consecutiveFailures
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
  /** Asked when the only candidate cannot be connected to: better a doubtful one than none. */
  #reserve: readonly EndpointLoad[] = []
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
    const alternative = this.#alternative(asker, place)
    // This request is the trial: the others wait for how it ends.
    if (endpoint.avoidUntilMs !== 0 && endpoint.avoidUntilMs <= now) this.avoid(endpoint)
    return {
      endpoint,
      alternative,
      retry: this.budget.request(now),
      cookie:
        this.#cookieName === null || kept !== null
          ? null
          : stickyCookie(this.#cookieName, endpoint.token, asker.request.tls),
    }
  }

  /** No connection came about: the others are asked, until the next trial. */
  avoid(endpoint: EndpointLoad): void {
    const now = this.#around.clock()
    if (endpoint.avoidUntilMs > now) return
    endpoint.avoidUntilMs = now + trialIntervalMs
    this.#refresh(now)
  }

  /** It answers again. */
  welcome(endpoint: EndpointLoad): void {
    endpoint.avoidUntilMs = 0
    this.#refresh(this.#around.clock())
  }

  // The budget does not decide about it: where nothing was sent, the alternative is no added load.
  #alternative(asker: Asker, first: number): EndpointLoad | null {
    if (!this.options.retry.enabled) return null
    const { endpoints } = this.#candidates
    if (endpoints.length > 1) {
      return endpoints[this.#strategy.second(this.#candidates, asker, first)] ?? null
    }
    return this.#reserve[0] ?? null
  }

  /** The place of the endpoint that a cookie names; null when the client must get another one. */
  #kept({ request }: Asker): number | null {
    if (this.#cookieName === null) return null
    const token = cookieOf(request, this.#cookieName)
    return token === null ? null : (this.#byToken.get(token) ?? null)
  }

  #refresh(now: number): void {
    const { panic, slowStartMs } = this.options
    const last = this.all.filter(({ health }) =>
      panic ? health !== 'unresolved' : health === 'healthy',
    )
    const asked = last.filter(({ avoidUntilMs }) => avoidUntilMs <= now)
    const well = asked.filter(({ health }) => health === 'healthy')
    const endpoints = [well, asked].find(({ length }) => length > 0) ?? last
    this.#reserve = last
      .filter((endpoint) => !endpoints.includes(endpoint))
      .toSorted((one, other) => one.avoidUntilMs - other.avoidUntilMs)
    const trials = last.map(({ avoidUntilMs }) => avoidUntilMs).filter((at) => at > now)
    this.#refreshAtMs = Math.min(Infinity, ...trials)
    this.#byToken = new Map(endpoints.map(({ token }, place) => [token, place]))
    const weights = endpoints.map((load) => {
      const agoMs = load.returnedAtMs === null ? slowStartMs : now - load.returnedAtMs
      if (agoMs >= slowStartMs) return load.weight
      this.#refreshAtMs = Math.min(this.#refreshAtMs, now + warmingStepMs)
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
