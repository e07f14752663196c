/**
 * The addresses behind the names of endpoints, looked up again and again. What was once found stays
 * until something else is: a resolver that fails must not take backends away.
 */
import { Resolver, lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { hostPortOf, hostPortText } from '../host-port.ts'

/** What a look-up gives; fails when the name has no address. */
export interface Found {
  readonly addresses: readonly string[]
  /** How long it holds, where the resolver says so. */
  readonly ttlMs: number | null
  /** Path of the socket of the agent that dials them; absent: the system does. */
  readonly via?: string
}

export type Lookup = (host: string) => Promise<Found>

/** What is known about a name. */
export interface Resolution {
  /** Empty until the first look-up succeeds. */
  readonly addresses: readonly string[]
  /** The last look-up failed. */
  readonly stale: boolean
  /** See `Found`. */
  readonly via?: string
}

export interface NamesOptions {
  readonly lookup: Lookup
  /** Other addresses are there, or the first. */
  readonly onChange: (host: string) => void
  readonly onFailure: (host: string, error: unknown) => void
}

interface Name {
  intervalMs: number
  resolution: Resolution
  timer: NodeJS.Timeout | null
  running: Promise<void> | null
}

const unknown: Resolution = { addresses: [], stale: false }
// Of one name; a zone must not fill the endpoint table.
const addressesMax = 256
// A short TTL must not make a storm, nor a failure a busy loop.
const intervalMinMs = 1_000
const unresolvedIntervalMs = 3_000

export class Names {
  readonly #options: NamesOptions
  readonly #names = new Map<string, Name>()
  /** Look-ups since start. */
  readonly counts = { found: 0, failed: 0 }

  constructor(options: NamesOptions) {
    this.#options = options
  }

  /** Looks these names up from now on, too; ends when every new one was tried once. */
  async add(hosts: ReadonlyMap<string, number>): Promise<void> {
    for (const [host, intervalMs] of hosts) {
      const name = this.#names.get(host)
      if (name !== undefined) name.intervalMs = intervalMs
      else this.#begin(host, intervalMs)
    }
    const running = [...this.#names.values()].map((name) => name.running ?? Promise.resolve())
    await Promise.all(running)
  }

  /** Forgets all other names. */
  retain(hosts: ReadonlyMap<string, number>): void {
    for (const [host, name] of this.#names) {
      if (hosts.has(host)) continue
      this.#names.delete(host)
      if (name.timer !== null) clearTimeout(name.timer)
    }
  }

  /** Looks up the names of these HOST:PORT from now on, and no others; ends as `add` does. */
  async follow(places: readonly string[], intervalMs: number): Promise<void> {
    const hosts = new Map(places.map((place) => [hostPortOf(place).host, intervalMs]))
    await this.add(hosts)
    this.retain(hosts)
  }

  /** What these HOST:PORT lead to, as ADDRESS:PORT, each once. */
  placesOf(places: readonly string[]): readonly string[] {
    const found = places.map(hostPortOf).flatMap(({ host, port }) => {
      const { addresses } = this.get(host)
      return addresses.map((address) => hostPortText({ host: address, port }))
    })
    return [...new Set(found)]
  }

  get(host: string): Resolution {
    return this.#names.get(host)?.resolution ?? unknown
  }

  /** Names whose last look-up failed. */
  get stale(): number {
    return [...this.#names.values()].filter(({ resolution }) => resolution.stale).length
  }

  stop(): void {
    for (const { timer } of this.#names.values()) if (timer !== null) clearTimeout(timer)
    this.#names.clear()
  }

  #begin(host: string, intervalMs: number): void {
    const name: Name = { intervalMs, resolution: unknown, timer: null, running: null }
    this.#names.set(host, name)
    if (isIP(host) === 0) name.running = this.#resolve(host, name)
    else name.resolution = { addresses: [host], stale: false }
  }

  async #resolve(host: string, name: Name): Promise<void> {
    let nextMs = name.intervalMs
    const before = name.resolution
    try {
      const { addresses, ttlMs, via } = await this.#options.lookup(host)
      if (addresses.length === 0) throw new Error(`${host} has no address`)
      this.counts.found += 1
      if (ttlMs !== null) nextMs = Math.min(nextMs, Math.max(ttlMs, intervalMinMs))
      const kept = addresses.slice(0, addressesMax)
      // Resolvers rotate their answers: only another set is a change.
      const isSame = via === before.via && sameSet(kept, before.addresses)
      const way = via === undefined ? {} : { via }
      name.resolution = { addresses: isSame ? before.addresses : kept, stale: false, ...way }
    } catch (error) {
      this.counts.failed += 1
      name.resolution = { ...before, stale: true }
      if (before.addresses.length === 0) nextMs = Math.min(nextMs, unresolvedIntervalMs)
      if (!before.stale) this.#options.onFailure(host, error)
    }
    name.running = null
    // Another configuration may have dropped the name in the meantime.
    if (this.#names.get(host) !== name) return
    name.timer = setTimeout(() => {
      name.running = this.#resolve(host, name)
    }, jittered(nextMs))
    name.timer.unref()
    if (name.resolution.addresses !== before.addresses) this.#options.onChange(host)
  }
}

/** Within a tenth of it, so that many names do not come due together. */
export function jittered(ms: number): number {
  return ms * (0.9 + 0.2 * Math.random())
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((address) => other.includes(address))
}

/** The machine's own look-up (hosts file, search domains), and the TTL that the DNS tells. */
export async function systemLookup(host: string): Promise<Found> {
  const [found, ttlMs] = await Promise.all([lookup(host, { all: true }), ttlOf(host)])
  return { addresses: [...new Set(found.map(({ address }) => address))], ttlMs }
}

/** Null for names that the DNS itself does not know as they stand: hosts file, search domains. */
async function ttlOf(host: string): Promise<number | null> {
  if (!host.includes('.')) return null
  const resolver = new Resolver({ timeout: 1_000, tries: 1 })
  const answers = await Promise.allSettled([
    resolver.resolve4(host, { ttl: true }),
    resolver.resolve6(host, { ttl: true }),
  ])
  const ttls = answers
    .flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    .map(({ ttl }) => ttl)
  return ttls.length === 0 ? null : Math.min(...ttls) * 1_000
}
