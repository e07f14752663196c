/**
 * The main thread's side of upstreams: which endpoints there are, and which of them are used. It
 * alone writes the wire's endpoint table, and tells the workers whenever something changes.
 */
import { createHmac } from 'node:crypto'
import type { EdgeConfig } from '../config/schema.ts'
import type { Logger } from '../log.ts'
import type { EndpointConfig } from '../wire-config.ts'
import type { EndpointHealth, EndpointState, UpstreamState } from './endpoint-state.ts'
import { EjectionHistory, ProbeHistory, mayEject } from './health.ts'
import { type Lookup, Names, jittered } from './names.ts'
import type { Probe } from './probe.ts'
import { endpointTls, hostOfUrl, socketAddress } from './resolve.ts'
import type { UpstreamFiles } from './upstream-files.ts'

type UpstreamConfig = EdgeConfig['upstreams'][number]

/** What is around it. */
export interface UpstreamsOptions {
  /** Replaces the wire's table. */
  readonly setEndpoints: (table: readonly EndpointConfig[]) => void
  /** Tells every worker. */
  readonly tell: (states: readonly UpstreamState[]) => void
  readonly log: Pick<Logger, 'warn' | 'info'>
  readonly lookup: Lookup
  readonly probe: Probe
  /** Whether exchanges are under way that a former configuration decides about. */
  readonly inUse: () => boolean
  /** Milliseconds that only grow. */
  readonly clock: () => number
}

/** What a configuration says about upstreams. */
export interface UpstreamsConfig {
  readonly config: Pick<EdgeConfig, 'upstreams'>
  /** In the order of its upstreams. */
  readonly upstreamFiles: readonly UpstreamFiles[]
}

/** One endpoint as operators see it. */
export interface EndpointReport {
  readonly id: number
  readonly url: string
  readonly addresses: readonly string[]
  readonly weight: number
  readonly health: EndpointHealth
  /** Its name could not be looked up last time: the addresses are those of before. */
  readonly stale: boolean
  readonly ejections: number
  /** Why the last probe failed; null when it did not, or there was none. */
  readonly probeFailure: string | null
}

export interface UpstreamReport {
  readonly name: string
  readonly endpoints: readonly EndpointReport[]
}

interface Endpoint {
  readonly id: number
  readonly key: string
  readonly label: string
  url: string
  weight: number
  token: string
  addresses: readonly string[]
  via: string | undefined
  readonly probes: ProbeHistory
  readonly ejections: EjectionHistory
  probeFailure: string | null
  warnedAtMs: number
  returnedAtMs: number | null
  probing: NodeJS.Timeout | null
  returning: NodeJS.Timeout | null
}

interface Upstream {
  readonly config: UpstreamConfig
  readonly files: UpstreamFiles
  endpoints: readonly Endpoint[]
}

// A name server that is silent must not hold up the start for longer.
const firstLookupMs = 5_000
// What workers planned just before a change must still find its endpoint in the wire.
const retiredMs = 60_000
// Of one endpoint that fails and cannot be ejected.
const warnIntervalMs = 60_000

export class Upstreams {
  readonly #options: UpstreamsOptions
  readonly #names: Names
  readonly #endpoints = new Map<string, Endpoint>()
  readonly #retired = new Map<number, EndpointConfig>()
  readonly #retiring = new Set<NodeJS.Timeout>()
  #upstreams = new Map<string, Upstream>()
  #table: readonly EndpointConfig[] = []
  #nextId = 0
  #started = false
  /** Probes since start. */
  readonly probes = { passed: 0, failed: 0 }

  constructor(options: UpstreamsOptions) {
    this.#options = options
    const { log, lookup } = options
    this.#names = new Names({
      lookup,
      onChange: () => this.#apply(),
      onFailure: (host, error) => {
        const kept = this.#names.get(host).addresses.length
        log.warn({ host, kept, err: error }, 'a name of an endpoint does not resolve')
      },
    })
  }

  /** Prepares a configuration and takes it over. */
  async configure(wanted: UpstreamsConfig): Promise<void> {
    await this.prepare(wanted)
    this.take(wanted)
  }

  /**
   * Looks up the names that are new. Never fails: one that does not resolve is tried again. Gives
   * the upstreams that would have no address because of new names.
   */
  async prepare({ config }: Pick<UpstreamsConfig, 'config'>): Promise<readonly string[]> {
    // By the configuration in force: what a refused one looked up is known, but new all the same.
    const upstreams = [...this.#upstreams.values()].map((upstream) => upstream.config)
    const before = hostsOf({ upstreams })
    const isNew = (host: string): boolean => !before.has(host)
    await within(this.#names.add(hostsOf(config)), firstLookupMs)
    return config.upstreams
      .filter(({ endpoints }) => {
        const hosts = endpoints.map(({ url }) => hostOfUrl(url))
        return (
          hosts.some(isNew) && hosts.every((host) => this.#names.get(host).addresses.length === 0)
        )
      })
      .map(({ name }) => name)
  }

  /**
   * Takes a configuration over, at start and at each reload: endpoints that stay keep their id and
   * what is known of their health.
   */
  take({ config, upstreamFiles: files }: UpstreamsConfig): void {
    const before = this.#upstreams
    this.#upstreams = new Map(
      config.upstreams.map((upstream, index) => [
        upstream.name,
        {
          config: upstream,
          files: files[index] ?? noFiles,
          endpoints: before.get(upstream.name)?.endpoints ?? [],
        },
      ]),
    )
    this.#names.retain(hostsOf(config))
    this.#apply()
    this.#started = true
  }

  /** What a worker begins with. */
  states(): UpstreamState[] {
    return [...this.#upstreams.values()].map((upstream) => this.#stateOf(upstream))
  }

  /** Requests failed at these endpoints, as often in a row as a worker bears. */
  failing(ids: readonly number[]): void {
    for (const upstream of this.#upstreams.values()) {
      for (const endpoint of upstream.endpoints) {
        if (ids.includes(endpoint.id)) this.#eject(upstream, endpoint)
      }
    }
  }

  report(): UpstreamReport[] {
    return [...this.#upstreams.values()].map((upstream) => ({
      name: upstream.config.name,
      endpoints: upstream.endpoints.map((endpoint) => ({
        id: endpoint.id,
        url: endpoint.label,
        addresses: endpoint.addresses,
        weight: endpoint.weight,
        health: healthOf(endpoint),
        stale: this.#names.get(hostOfUrl(endpoint.url)).stale,
        ejections: endpoint.ejections.count,
        probeFailure: endpoint.probeFailure,
      })),
    }))
  }

  /** Look-ups since start, and the names whose last one failed. */
  get lookups(): { readonly found: number; readonly failed: number; readonly stale: number } {
    return { ...this.#names.counts, stale: this.#names.stale }
  }

  stop(): void {
    this.#names.stop()
    for (const endpoint of this.#endpoints.values()) stopTimers(endpoint)
    for (const timer of this.#retiring) clearTimeout(timer)
    this.#retiring.clear()
  }

  /** Makes the endpoints what configuration and names say, and tells wire and workers. */
  #apply(): void {
    const table: EndpointConfig[] = []
    const current = new Set<string>()
    for (const upstream of this.#upstreams.values()) {
      upstream.endpoints = this.#endpointsOf(upstream)
      for (const endpoint of upstream.endpoints) {
        current.add(endpoint.key)
        table.push(wireEndpoint(upstream, endpoint))
        this.#beginProbes(upstream, endpoint)
      }
    }
    for (const [key, endpoint] of this.#endpoints) if (!current.has(key)) this.#retire(endpoint)
    this.#table = table
    this.#options.setEndpoints([...table, ...this.#retired.values()])
    this.#options.tell(this.states())
  }

  #endpointsOf({ config, files }: Upstream): Endpoint[] {
    return config.endpoints.flatMap(({ url, weight, eachAddress }) => {
      const { addresses, via } = this.#names.get(hostOfUrl(url))
      const sockets = addresses.map((address) => socketAddress(address, url))
      const groups = eachAddress ? sockets.map((socket) => [socket]) : [sockets]
      return groups.map((group) => {
        const [scheme = ''] = url.split('//')
        const label = eachAddress ? `${scheme}//${group.join('')}` : url
        const endpoint = this.#endpointOf(`${config.name} ${url} ${label}`, label)
        if (endpoint.addresses.length === 0 && group.length > 0 && this.#started) {
          endpoint.returnedAtMs = this.#options.clock()
        }
        endpoint.url = url
        endpoint.weight = weight
        endpoint.addresses = group
        endpoint.via = via
        endpoint.token = tokenOf(`${config.name} ${label}`, files.stickyKey)
        return endpoint
      })
    })
  }

  #endpointOf(key: string, label: string): Endpoint {
    const known = this.#endpoints.get(key)
    if (known !== undefined) return known
    const endpoint: Endpoint = {
      id: this.#nextId,
      key,
      label,
      url: '',
      weight: 1,
      token: '',
      addresses: [],
      via: undefined,
      probes: new ProbeHistory(),
      ejections: new EjectionHistory(),
      probeFailure: null,
      warnedAtMs: -Infinity,
      returnedAtMs: null,
      probing: null,
      returning: null,
    }
    this.#nextId += 1
    this.#endpoints.set(key, endpoint)
    return endpoint
  }

  #retire(endpoint: Endpoint): void {
    stopTimers(endpoint)
    this.#endpoints.delete(endpoint.key)
    const last = this.#table.find(({ id }) => id === endpoint.id)
    if (last === undefined) return
    this.#retired.set(endpoint.id, last)
    this.#forgetLater(endpoint.id)
  }

  #forgetLater(id: number): void {
    const timer = setTimeout(() => {
      this.#retiring.delete(timer)
      if (this.#options.inUse()) return this.#forgetLater(id)
      this.#retired.delete(id)
      this.#options.setEndpoints([...this.#table, ...this.#retired.values()])
    }, retiredMs)
    timer.unref()
    this.#retiring.add(timer)
  }

  #eject(upstream: Upstream, endpoint: Endpoint): void {
    const { ejection, name } = upstream.config
    const { clock, log } = this.#options
    if (healthOf(endpoint) !== 'healthy') return
    const ejected = upstream.endpoints.filter(({ ejections }) => ejections.isEjected).length
    const fields = { upstream: name, endpoint: endpoint.label }
    if (!mayEject(upstream.endpoints.length, ejected, ejection.maxPercent)) {
      if (clock() - endpoint.warnedAtMs < warnIntervalMs) return
      endpoint.warnedAtMs = clock()
      log.warn(fields, 'an endpoint fails and stays: it is the last, or too many are ejected')
      return
    }
    const forMs = endpoint.ejections.eject(clock(), ejection)
    log.warn({ ...fields, forMs }, 'endpoint ejected: its requests failed')
    endpoint.returning = setTimeout(() => {
      endpoint.returning = null
      if (!endpoint.ejections.release(clock())) return
      log.info(fields, 'an ejected endpoint is tried again')
      this.#returned(upstream.config.name, endpoint)
    }, forMs)
    endpoint.returning.unref()
    this.#tell(name)
  }

  #returned(upstream: string, endpoint: Endpoint): void {
    endpoint.returnedAtMs = this.#options.clock()
    this.#tell(upstream)
  }

  /** Probes for as long as the endpoint is there and the configuration in force wants them. */
  #beginProbes({ config }: Upstream, endpoint: Endpoint): void {
    if (config.health === null) {
      if (endpoint.probing !== null) clearTimeout(endpoint.probing)
      endpoint.probing = null
      return
    }
    if (endpoint.probing !== null) return
    // Soon, because the first result decides; not all at once.
    this.#probeIn(endpoint, config.name, (Math.random() * config.health.intervalMs) / 10)
  }

  #probeIn(endpoint: Endpoint, name: string, ms: number): void {
    endpoint.probing = setTimeout(() => void this.#probe(endpoint, name), ms)
    endpoint.probing.unref()
  }

  async #probe(endpoint: Endpoint, name: string): Promise<void> {
    const upstream = this.#upstreams.get(name)
    const health = upstream?.config.health ?? null
    if (upstream === undefined || health === null) return
    if (endpoint.addresses.length > 0) {
      const target = { ...health, url: endpoint.url, endpoint: wireEndpoint(upstream, endpoint) }
      this.#probed(endpoint, upstream.config, await this.#options.probe(target))
    }
    // Stopped while the probe was under way.
    if (this.#endpoints.get(endpoint.key) !== endpoint || endpoint.probing === null) return
    this.#probeIn(endpoint, name, jittered(health.intervalMs))
  }

  #probed(endpoint: Endpoint, config: UpstreamConfig, failure: string | null): void {
    const isGood = failure === null
    this.probes[isGood ? 'passed' : 'failed'] += 1
    endpoint.probeFailure = failure
    // The configuration in force may have no probes any more.
    if (config.health === null || this.#endpoints.get(endpoint.key) !== endpoint) return
    if (!endpoint.probes.record(isGood, config.health)) return
    const fields = { upstream: config.name, endpoint: endpoint.label, failure }
    if (isGood) {
      this.#options.log.info(fields, 'endpoint healthy: its probes pass')
      this.#returned(config.name, endpoint)
    } else {
      this.#options.log.warn(fields, 'endpoint unhealthy: its probes fail')
      this.#tell(config.name)
    }
  }

  #tell(name: string): void {
    const upstream = this.#upstreams.get(name)
    if (upstream !== undefined) this.#options.tell([this.#stateOf(upstream)])
  }

  #stateOf({ config, endpoints }: Upstream): UpstreamState {
    const now = this.#options.clock()
    return {
      name: config.name,
      endpoints: endpoints.map((endpoint): EndpointState => ({
        id: endpoint.id,
        url: endpoint.label,
        weight: endpoint.weight,
        token: endpoint.token,
        health: healthOf(endpoint),
        returnedAgoMs: endpoint.returnedAtMs === null ? null : now - endpoint.returnedAtMs,
      })),
    }
  }
}

/** Every name, and how often it is looked up. */
function hostsOf({ upstreams }: UpstreamsConfig['config']): Map<string, number> {
  const hosts = new Map<string, number>()
  for (const { endpoints, resolveIntervalMs } of upstreams) {
    for (const { url } of endpoints) {
      const host = hostOfUrl(url)
      hosts.set(host, Math.min(resolveIntervalMs, hosts.get(host) ?? Infinity))
    }
  }
  return hosts
}

const noFiles: UpstreamFiles = { trusted: '', clientChain: '', clientKey: '', stickyKey: '' }

function healthOf({ addresses, probes, ejections }: Endpoint): EndpointHealth {
  if (addresses.length === 0) return 'unresolved'
  if (!probes.isHealthy) return 'unhealthy'
  return ejections.isEjected ? 'ejected' : 'healthy'
}

function wireEndpoint({ config, files }: Upstream, endpoint: Endpoint): EndpointConfig {
  return {
    id: endpoint.id,
    addresses: endpoint.addresses,
    protocol: config.protocol,
    tls: endpointTls(endpoint.url, config.tls, files),
    ...(endpoint.via === undefined ? {} : { via: endpoint.via }),
  }
}

/** Opaque, and the same on every edge with the same configuration and key. */
function tokenOf(name: string, key: string): string {
  const sealed = createHmac('sha256', `edge sticky ${key}`).update(name).digest()
  return sealed.subarray(0, 16).toString('base64url')
}

function stopTimers(endpoint: Endpoint): void {
  if (endpoint.probing !== null) clearTimeout(endpoint.probing)
  if (endpoint.returning !== null) clearTimeout(endpoint.returning)
  endpoint.probing = null
  endpoint.returning = null
}

/** Ends with `work`, or at the deadline without it. */
async function within(work: Promise<void>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([work, promise])
  clearTimeout(timer)
}
