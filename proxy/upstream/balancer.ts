/** Which endpoint of an upstream is next. */
import assert from 'node:assert'

/** An upstream as workers know it: its endpoints are ids in the wire's table. */
export interface UpstreamEndpoints {
  readonly name: string
  readonly endpoints: readonly number[]
}

/** Round robin for each upstream. Each worker counts alone: no worker waits for another. */
export class Balancer {
  readonly #rings = new Map<string, Ring>()

  /** `offset` (the worker's slot) keeps the workers from all beginning at the same endpoint. */
  constructor(upstreams: readonly UpstreamEndpoints[], offset: number) {
    for (const { name, endpoints } of upstreams) {
      this.#rings.set(name, { endpoints, next: offset })
    }
  }

  /** The endpoint's id, or null when the upstream has none. */
  choose(upstream: string): number | null {
    const ring = this.#rings.get(upstream)
    assert(ring !== undefined, `no upstream ${upstream}`)
    const endpoint = ring.endpoints[ring.next % ring.endpoints.length]
    ring.next += 1
    return endpoint ?? null
  }
}

interface Ring {
  readonly endpoints: readonly number[]
  next: number
}
