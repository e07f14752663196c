/** The four ways to choose an endpoint. A strategy never sees one that must not be used. */
import type { HashKey } from '../config/fields.ts'
import type { RequestHead } from '../request.ts'
import { cookieOf } from './cookie.ts'
import type { EndpointLoad } from './endpoint-load.ts'
import { hashOf, rank } from './rendezvous.ts'

/** The endpoints of one upstream that may be used now; there is at least one. */
export interface Candidates {
  readonly endpoints: readonly EndpointLoad[]
  /** Slow start included; null while all are equal. */
  readonly weights: readonly number[] | null
  readonly totalWeight: number
}

/** What may decide. */
export interface Asker {
  readonly request: Pick<RequestHead, 'path' | 'tls' | 'header' | 'headerAll'>
  readonly clientAddress: string
}

export interface Strategy {
  /** The place of the endpoint for this request. */
  first(candidates: Candidates, asker: Asker): number
  /** The place of the one to try when that fails; asked after `first`, and of at least two. */
  second(candidates: Candidates, asker: Asker, first: number): number
}

/** In turn, in proportion to the weights. */
export class RoundRobin implements Strategy {
  #next: number

  /** `offset` keeps the workers from all beginning at the same endpoint. */
  constructor(offset: number) {
    this.#next = offset
  }

  first({ endpoints, weights, totalWeight }: Candidates): number {
    if (weights !== null) return smooth(endpoints, weights, totalWeight)
    const place = this.#next % endpoints.length
    this.#next = place + 1
    return place
  }

  second({ endpoints }: Candidates, _asker: Asker, first: number): number {
    return (first + 1) % endpoints.length
  }
}

/** Smooth weighted round robin: no run of turns for the heavy one, as nginx spreads them. */
function smooth(
  endpoints: readonly EndpointLoad[],
  weights: readonly number[],
  total: number,
): number {
  let best = 0
  let most = -Infinity
  endpoints.forEach((endpoint, place) => {
    endpoint.credit += weights[place] ?? 0
    if (endpoint.credit <= most) return
    best = place
    most = endpoint.credit
  })
  const chosen = endpoints[best]
  if (chosen !== undefined) chosen.credit -= total
  return best
}

/**
 * The less busy of two drawn at random: nearly as even as the least busy of all, and many workers
 * that each see only their own requests do not all run to the same endpoint.
 */
export class LeastOutstanding implements Strategy {
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  first(candidates: Candidates): number {
    const one = this.#draw(candidates)
    return this.#lessBusy(candidates, one, this.#draw(candidates))
  }

  second(candidates: Candidates, _asker: Asker, first: number): number {
    const last = candidates.endpoints.length
    const one = (first + 1 + Math.floor(this.#random() * (last - 1))) % last
    const drawn = this.#draw(candidates)
    return drawn === first ? one : this.#lessBusy(candidates, one, drawn)
  }

  #draw({ endpoints, weights, totalWeight }: Candidates): number {
    if (weights === null) return Math.floor(this.#random() * endpoints.length)
    let left = this.#random() * totalWeight
    const place = weights.findIndex((weight) => {
      left -= weight
      return left < 0
    })
    return place === -1 ? endpoints.length - 1 : place
  }

  #lessBusy({ endpoints, weights }: Candidates, one: number, other: number): number {
    const load = (place: number): number =>
      ((endpoints[place]?.outstanding ?? 0) + 1) / (weights?.[place] ?? 1)
    // With nothing under way the draw alone keeps the weights.
    const idle = endpoints[one]?.outstanding === 0 && endpoints[other]?.outstanding === 0
    return idle || load(one) <= load(other) ? one : other
  }
}

/** The same endpoint for the same key. What has no key is spread in turn. */
export class Hash implements Strategy {
  readonly #on: HashKey
  readonly #fallback: Strategy
  /** The second place of the ranking that `first` has just made; null when it had no key. */
  #next: number | null = null

  constructor(on: HashKey, fallback: Strategy) {
    this.#on = on
    this.#fallback = fallback
  }

  first(candidates: Candidates, asker: Asker): number {
    const key = this.#key(asker)
    this.#next = null
    if (key === null) return this.#fallback.first(candidates, asker)
    const [first, second] = rank(hashOf(key), candidates.endpoints, candidates.weights)
    this.#next = second
    return first
  }

  second(candidates: Candidates, asker: Asker, first: number): number {
    return this.#next ?? this.#fallback.second(candidates, asker, first)
  }

  #key({ request, clientAddress }: Asker): string | null {
    switch (this.#on.kind) {
      case 'client-address':
        return clientAddress
      case 'path':
        return request.path
      case 'header':
        return request.header(this.#on.name)
      case 'cookie':
        return cookieOf(request, this.#on.name)
    }
  }
}
