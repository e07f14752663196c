/**
 * Numbers for what outlives a reload. Exchanges and connections under way refer to endpoints and
 * certificates by number: one that meant something else after a reload would send a request to the
 * wrong backend.
 */
import type { EdgeConfig } from './config/schema.ts'

/** Gives equal things the same number for the life of the program. */
export class Identities {
  readonly #endpoints = new Map<string, number>()
  readonly #certificates = new Map<string, number>()
  readonly #names: (readonly string[])[] = []

  /** Ids of all endpoints, in the order of the configuration. */
  endpoints(upstreams: EdgeConfig['upstreams']): number[] {
    return upstreams.flatMap(({ name, endpoints }) => {
      const seen = new Map<string, number>()
      return endpoints.map(({ url }) => {
        // The same URL twice is two endpoints: somebody wants it to have twice the share.
        const nth = seen.get(url) ?? 0
        seen.set(url, nth + 1)
        return numberOf(this.#endpoints, JSON.stringify([name, url, nth]))
      })
    })
  }

  /** The id of a certificate: what matters to requests is its names, so a renewed one keeps it. */
  certificate(names: readonly string[]): number {
    const id = numberOf(this.#certificates, names.join(' '))
    this.#names[id] = names
    return id
  }

  /** The names of every certificate there ever was, by id. */
  get certificateNames(): readonly (readonly string[])[] {
    return [...this.#names]
  }
}

function numberOf(known: Map<string, number>, key: string): number {
  const id = known.get(key) ?? known.size
  known.set(key, id)
  return id
}
