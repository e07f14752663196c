/**
 * The lookups behind `@rbl`. Rules ask in the workers and go on; what they do not know yet comes
 * here, and the answer serves the requests that follow.
 */
import { Resolver } from 'node:dns/promises'
import { type RblPort, rblPort } from '../waf/scanner.ts'
import { byLabel, sample } from './admin/exposition.ts'
import type { Sample } from './admin/exposition.ts'
import type { EdgeConfig } from './config/schema.ts'

type Settings = EdgeConfig['waf']['rbl']

/** How a lookup ended. */
type Result = 'listed' | 'not_listed' | 'timeout' | 'failed'

interface Found {
  readonly result: Result
  /** How long the answer holds. */
  readonly keepMs: number
}

// A name server that is away is not asked for every request.
const failureKeptMs = 30_000

/** The lookups of the running program. */
export class RblLookups {
  readonly #port: RblPort
  readonly #counts: Record<Result, number> = { listed: 0, not_listed: 0, timeout: 0, failed: 0 }
  #settings: Settings
  #resolver: Resolver

  constructor(settings: Settings, port: RblPort = rblPort()) {
    this.#port = port
    this.#settings = settings
    this.#resolver = resolverOf(settings)
    this.configure(settings)
    port.rblOnAsked(() => this.#take())
  }

  /** A reload: other limits, perhaps another name server. */
  configure(settings: Settings): void {
    this.#settings = settings
    this.#resolver = resolverOf(settings)
    const { cacheMax, pendingMax } = settings
    this.#port.rblSetLimits({ cacheMax, pendingMax })
  }

  /** Ends what is under way. */
  stop(): void {
    this.#resolver.cancel()
  }

  samples(): Sample[] {
    const { known, pending, hits, misses, dropped, evicted } = this.#port.rblCounts()
    return [
      sample(
        'edge_waf_rbl_names',
        'Names of @rbl whose answer is known, or waited for.',
        byLabel('state', { known, pending }),
      ),
      sample(
        'edge_waf_rbl_questions_total',
        'Questions of rules, by what was known; dropped: too many lookups were under way.',
        byLabel('result', { known: hits, unknown: misses - dropped, dropped }),
      ),
      sample(
        'edge_waf_rbl_lookups_total',
        'Lookups at the name server, by how they ended.',
        byLabel('result', this.#counts),
      ),
      sample(
        'edge_waf_rbl_evictions_total',
        'Answers forgotten before their time because the cache was full.',
        evicted,
      ),
    ]
  }

  #take(): void {
    for (const name of this.#port.rblTakeAsked()) void this.#lookUp(name)
  }

  async #lookUp(name: string): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<Found>()
    const { timeoutMs, ttlMs } = this.#settings
    const timer = setTimeout(() => {
      resolve({ result: 'timeout', keepMs: Math.min(failureKeptMs, ttlMs) })
    }, timeoutMs).unref()
    const { result, keepMs } = await Promise.race([find(this.#resolver, name, ttlMs), late])
    clearTimeout(timer)
    this.#counts[result] += 1
    this.#port.rblAnswer(name, result === 'listed', keepMs)
  }
}

function resolverOf({ timeoutMs, resolver }: Settings): Resolver {
  const made = new Resolver({ timeout: timeoutMs, tries: 1 })
  if (resolver !== null) made.setServers([resolver])
  return made
}

/** Never rejects: a failure is an answer too. */
async function find(resolver: Resolver, name: string, ttlMs: number): Promise<Found> {
  try {
    const records = await resolver.resolve4(name, { ttl: true })
    const listing = records.filter(({ address }) => isListing(address))
    if (listing.length === 0) return { result: 'not_listed', keepMs: ttlMs }
    const leastMs = Math.min(...listing.map(({ ttl }) => Math.max(1, ttl) * 1_000))
    return { result: 'listed', keepMs: Math.min(ttlMs, leastMs) }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'ENOTFOUND' || code === 'ENODATA') return { result: 'not_listed', keepMs: ttlMs }
    const keepMs = Math.min(failureKeptMs, ttlMs)
    return { result: code === 'ETIMEOUT' ? 'timeout' : 'failed', keepMs }
  }
}

/**
 * RFC 5782 §2.1: lists answer within 127.0.0.0/8, so another address is that of a resolver which
 * finds everything. 127.255.255.0/24 says in large lists that the question was refused.
 */
function isListing(address: string): boolean {
  return address.startsWith('127.') && !address.startsWith('127.255.255.')
}
