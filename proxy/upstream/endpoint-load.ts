/** One endpoint as one worker sees it: what it has there, and how that went lately. */
import type { EndpointHealth, EndpointState } from './endpoint-state.ts'
import { hashOf } from './rendezvous.ts'

export class EndpointLoad {
  readonly id: number
  readonly url: string
  readonly upstream: string
  readonly token: string
  /** Its own number in rendezvous hashing; the same in every worker and after every start. */
  readonly seed: number
  weight: number
  health: EndpointHealth
  /** On this worker's clock; null: it was always here. */
  returnedAtMs: number | null
  /** Requests of this worker that are under way. */
  outstanding = 0
  /** Failures since the last success. */
  failuresInRow = 0
  /** Since a connection to it failed: until when this worker asks the others; 0: it is well. */
  avoidUntilMs = 0
  /** When the main thread was last told that it fails. */
  toldAtMs = -Infinity
  /** What smooth weighted round robin owes it. */
  credit = 0

  constructor(state: EndpointState, upstream: string, nowMs: number) {
    this.id = state.id
    this.url = state.url
    this.upstream = upstream
    this.token = state.token
    this.seed = hashOf(state.url)
    this.weight = state.weight
    this.health = state.health
    this.returnedAtMs = state.returnedAgoMs === null ? null : nowMs - state.returnedAgoMs
  }

  /** Takes over what the main thread says now. */
  update(state: EndpointState, nowMs: number): void {
    // What failed before it was away says nothing about it now.
    if (state.health === 'healthy' && this.health !== 'healthy') {
      this.failuresInRow = 0
      this.avoidUntilMs = 0
      this.toldAtMs = -Infinity
    }
    this.weight = state.weight
    this.health = state.health
    this.returnedAtMs = state.returnedAgoMs === null ? null : nowMs - state.returnedAgoMs
  }
}

/** Every endpoint that this worker ever heard of, by id: outlives a change of configuration. */
export class EndpointLoads {
  readonly #loads = new Map<number, EndpointLoad>()
  #failing: number[] = []

  get(id: number): EndpointLoad | null {
    return this.#loads.get(id) ?? null
  }

  /** All that the current upstreams have, and all that still have requests. */
  all(): Iterable<EndpointLoad> {
    return this.#loads.values()
  }

  /** The load for a state, brought up to date. */
  take(state: EndpointState, upstream: string, nowMs: number): EndpointLoad {
    const known = this.#loads.get(state.id)
    if (known !== undefined) {
      known.update(state, nowMs)
      return known
    }
    const load = new EndpointLoad(state, upstream, nowMs)
    this.#loads.set(state.id, load)
    return load
  }

  /** Forgets what no upstream has any more, once nothing is under way there. */
  retain(current: ReadonlySet<EndpointLoad>): void {
    for (const [id, load] of this.#loads) {
      if (!current.has(load) && load.outstanding === 0) this.#loads.delete(id)
    }
  }

  /** This endpoint fails: the main thread should eject it. */
  fails(id: number): void {
    this.#failing.push(id)
  }

  /** Endpoints that fail; each call empties the list. */
  takeFailing(): readonly number[] {
    if (this.#failing.length === 0) return this.#failing
    const failing = this.#failing
    this.#failing = []
    return failing
  }
}
