/**
 * Numbers for what outlives a reload. Exchanges and connections under way refer to certificates by
 * number: it must not mean another one after a reload. Those of endpoints: `upstream/upstreams.ts`.
 */

/** Gives equal things the same number for the life of the program. */
export class Identities {
  readonly #certificates = new Map<string, number>()
  readonly #names: (readonly string[])[] = []

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
