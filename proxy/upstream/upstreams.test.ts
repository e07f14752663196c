/** The main thread's side, on fake timers, with look-ups and probes that the test answers. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ConfigError } from '../config/faults.ts'
import { parseConfig } from '../config/parse.ts'
import type { EdgeConfig } from '../config/schema.ts'
import type { EndpointConfig } from '../wire-config.ts'
import type { EndpointHealth } from './endpoint-state.ts'
import type { Found } from './names.ts'
import type { ProbeTarget } from './probe.ts'
import { Upstreams } from './upstreams.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  started.forEach((upstreams) => upstreams.stop())
  started.length = 0
  vi.useRealTimers()
})

const started: Upstreams[] = []

function configOf(upstream: string): EdgeConfig {
  const parsed = parseConfig({
    file: { path: '/e.yaml', name: 'e.yaml', text: `upstreams: [{ name: u, ${upstream} }]\n` },
    env: {},
    flags: [],
    folder: '/',
    processors: 1,
    installedRules: null,
  })
  if (parsed instanceof ConfigError) throw parsed
  return parsed.config
}

interface Scene {
  readonly upstreams: Upstreams
  /** The wire's table, as last written. */
  table: readonly EndpointConfig[]
  /** How often workers were told. */
  told: number
  /** Whether a former configuration still decides about exchanges. */
  inUse: boolean
  /** What names resolve to; a name that is not there fails. */
  readonly names: Map<string, Found>
  /** Why probes fail, by URL. */
  readonly sick: Map<string, string>
  readonly probed: ProbeTarget[]
  readonly warnings: string[]
  health(): EndpointHealth[]
}

function scene(): Scene {
  const names = new Map<string, Found>()
  const sick = new Map<string, string>()
  const warnings: string[] = []
  const probed: ProbeTarget[] = []
  const upstreams: Upstreams = new Upstreams({
    setEndpoints: (table) => {
      made.table = table
    },
    tell: () => {
      made.told += 1
    },
    log: {
      warn: (_fields: unknown, text?: unknown) => warnings.push(String(text)),
      info: () => undefined,
    },
    lookup: async (host) => {
      const found = names.get(host)
      if (found === undefined) throw new Error(`no ${host}`)
      return found
    },
    probe: async (target) => {
      probed.push(target)
      return sick.get(target.url) ?? null
    },
    inUse: () => made.inUse,
    clock: () => Date.now(),
  })
  started.push(upstreams)
  const health = () => upstreams.states().flatMap((u) => u.endpoints.map((one) => one.health))
  const made: Scene = {
    upstreams,
    table: [],
    told: 0,
    inUse: true,
    names,
    sick,
    probed,
    warnings,
    health,
  }
  return made
}

const files = [{ trusted: 'CA', clientChain: '', clientKey: '', stickyKey: '' }]
const two = 'endpoints: [{ url: "http://127.0.0.1:1" }, { url: "http://[::1]:2" }]'

test('the table has every address of each endpoint', async () => {
  const it = scene()
  it.names.set('h', { addresses: ['10.0.0.1', 'fd00::1'], ttlMs: null })
  await it.upstreams.configure({
    config: configOf(
      'endpoints: [{ url: "http://h" }, { url: "http://10.0.0.2" }], protocol: http2',
    ),
    upstreamFiles: files,
  })
  expect(it.table).toEqual([
    { id: 0, addresses: ['10.0.0.1:80', '[fd00::1]:80'], protocol: 'http2', tls: null },
    { id: 1, addresses: ['10.0.0.2:80'], protocol: 'http2', tls: null },
  ])
})

test('over https an endpoint is verified by its own name, or by the one written', async () => {
  const it = scene()
  const https = 'endpoints: [{ url: "https://10.0.0.1" }]'
  await it.upstreams.configure({ config: configOf(https), upstreamFiles: files })
  const tls = { serverName: '10.0.0.1', verify: true, trusted: 'CA', clientChain: '' }
  expect(it.table).toEqual([
    { id: 0, addresses: ['10.0.0.1:443'], protocol: 'auto', tls: { ...tls, clientKey: '' } },
  ])
  await it.upstreams.configure({
    config: configOf(`${https}, tls: { serverName: shop }`),
    upstreamFiles: files,
  })
  expect(it.table[0]?.tls?.serverName).toBe('shop')
})

test('an id is never used for another endpoint, and a reload keeps what is known', async () => {
  const it = scene()
  await it.upstreams.configure({ config: configOf(two), upstreamFiles: files })
  it.upstreams.failing([1])
  expect(it.health()).toEqual(['healthy', 'ejected'])
  await it.upstreams.configure({
    config: configOf('endpoints: [{ url: "http://[::1]:2" }, { url: "http://127.0.0.1:3" }]'),
    upstreamFiles: files,
  })
  const states = it.upstreams.states().flatMap(({ endpoints }) => endpoints)
  expect(states.map(({ id, health }) => [id, health])).toEqual([
    [1, 'ejected'],
    [2, 'healthy'],
  ])
  // What was planned before the reload still finds its endpoint.
  expect(it.table.map(({ id }) => id)).toEqual([1, 2, 0])
  await vi.advanceTimersByTimeAsync(61_000)
  expect(it.table.map(({ id }) => id)).toEqual([1, 2, 0])
  it.inUse = false
  await vi.advanceTimersByTimeAsync(61_000)
  expect(it.table.map(({ id }) => id)).toEqual([1, 2])
})

test('an ejected endpoint comes back, warms up, and is away longer the next time', async () => {
  const it = scene()
  await it.upstreams.configure({ config: configOf(two), upstreamFiles: files })
  it.upstreams.failing([0])
  await vi.advanceTimersByTimeAsync(9_999)
  expect(it.health()).toEqual(['ejected', 'healthy'])
  await vi.advanceTimersByTimeAsync(2)
  expect(it.health()).toEqual(['healthy', 'healthy'])
  expect(it.upstreams.states()[0]?.endpoints[0]?.returnedAgoMs).toBeLessThan(10)
  it.upstreams.failing([0])
  await vi.advanceTimersByTimeAsync(15_000)
  expect(it.health()).toEqual(['ejected', 'healthy'])
  await vi.advanceTimersByTimeAsync(5_001)
  expect(it.health()).toEqual(['healthy', 'healthy'])
})

test('not more than maxPercent are ejected, and never the last', async () => {
  const it = scene()
  await it.upstreams.configure({ config: configOf(two), upstreamFiles: files })
  it.upstreams.failing([0, 1])
  expect(it.health()).toEqual(['ejected', 'healthy'])
  it.upstreams.failing([1])
  const text = 'an endpoint fails and stays: it is the last, or too many are ejected'
  expect(it.warnings.filter((warning) => warning === text)).toHaveLength(1)
})

test('probes take an endpoint out and back in', async () => {
  const it = scene()
  const rules = 'health: { interval: 1s, timeout: 1s, path: /up?x=1, host: shop.internal }'
  await it.upstreams.configure({ config: configOf(`${two}, ${rules}`), upstreamFiles: files })
  await vi.advanceTimersByTimeAsync(1_200)
  expect(it.health()).toEqual(['healthy', 'healthy'])
  expect(it.probed[0]).toMatchObject({ path: '/up?x=1', host: 'shop.internal', timeoutMs: 1_000 })
  it.sick.set('http://127.0.0.1:1', 'status 500')
  await vi.advanceTimersByTimeAsync(1_700)
  expect(it.health()).toEqual(['healthy', 'healthy'])
  await vi.advanceTimersByTimeAsync(2_300)
  expect(it.health()).toEqual(['unhealthy', 'healthy'])
  expect(it.upstreams.report()[0]?.endpoints[0]?.probeFailure).toBe('status 500')
  it.sick.clear()
  await vi.advanceTimersByTimeAsync(2_500)
  expect(it.health()).toEqual(['healthy', 'healthy'])
  expect(it.upstreams.states()[0]?.endpoints[0]?.returnedAgoMs).not.toBeNull()
  await it.upstreams.configure({ config: configOf(two), upstreamFiles: files })
  const { length } = it.probed
  await vi.advanceTimersByTimeAsync(5_000)
  expect(it.probed.length).toBe(length)
})

const named = 'endpoints: [{ url: "http://app:80" }]'
const addressesOf = (it: Scene) => it.table.flatMap(({ addresses }) => addresses)

test('a name that does not resolve is told, and used as soon as it does', async () => {
  const it = scene()
  await it.upstreams.configure({ config: configOf(named), upstreamFiles: files })
  expect(it.health()).toEqual(['unresolved'])
  expect(it.warnings).toEqual(['a name of an endpoint does not resolve'])
  it.names.set('app', { addresses: ['10.0.0.1'], ttlMs: null })
  await vi.advanceTimersByTimeAsync(3_400)
  expect([it.health(), addressesOf(it)]).toEqual([['healthy'], ['10.0.0.1:80']])
})

test('new addresses are used under the same id; a failed look-up takes none away', async () => {
  const it = scene()
  it.names.set('app', { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: null })
  await it.upstreams.configure({ config: configOf(named), upstreamFiles: files })
  const { told } = it
  it.names.set('app', { addresses: ['10.0.0.2', '10.0.0.1'], ttlMs: null })
  await vi.advanceTimersByTimeAsync(34_000)
  expect([addressesOf(it)[0], it.told]).toEqual(['10.0.0.1:80', told])
  it.names.set('app', { addresses: ['10.0.0.3'], ttlMs: null })
  await vi.advanceTimersByTimeAsync(34_000)
  expect(it.table.map(({ id, addresses }) => [id, addresses])).toEqual([[0, ['10.0.0.3:80']]])
  it.names.clear()
  await vi.advanceTimersByTimeAsync(120_000)
  expect([addressesOf(it), it.health()]).toEqual([['10.0.0.3:80'], ['healthy']])
  expect(it.upstreams.report()[0]?.endpoints[0]?.stale).toBe(true)
  expect(it.upstreams.lookups).toMatchObject({ found: 3, stale: 1 })
  expect(it.warnings).toHaveLength(1)
})

test('a short TTL is heeded, within reason', async () => {
  const it = scene()
  it.names.set('app', { addresses: ['10.0.0.1'], ttlMs: 0 })
  await it.upstreams.configure({ config: configOf(named), upstreamFiles: files })
  await vi.advanceTimersByTimeAsync(11_500)
  expect(it.upstreams.lookups.found).toBeGreaterThanOrEqual(9)
  expect(it.upstreams.lookups.found).toBeLessThanOrEqual(13)
})

test('with eachAddress every address is an endpoint, for as long as it is there', async () => {
  const it = scene()
  it.names.set('app', { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: null })
  const each = 'endpoints: [{ url: "http://app:80", eachAddress: true }]'
  await it.upstreams.configure({ config: configOf(each), upstreamFiles: files })
  it.upstreams.failing([0])
  it.names.set('app', { addresses: ['10.0.0.3', '10.0.0.1'], ttlMs: null })
  await vi.advanceTimersByTimeAsync(34_000)
  const states = it.upstreams.states().flatMap(({ endpoints }) => endpoints)
  expect(states.map(({ id, url }) => [id, url])).toEqual([
    [2, 'http://10.0.0.3:80'],
    [0, 'http://10.0.0.1:80'],
  ])
  expect(states.map(({ returnedAgoMs }) => returnedAgoMs !== null)).toEqual([true, true])
  expect(it.table.map(({ id }) => id)).toEqual([2, 0, 1])
})

test('a reload learns which upstreams its new names would leave without any address', async () => {
  const it = scene()
  await it.upstreams.configure({ config: configOf(named), upstreamFiles: files })
  const lost = (upstream: string) => it.upstreams.prepare({ config: configOf(upstream) })
  expect(await lost(named)).toEqual([])
  for (const _ of ['once', 'and again']) {
    expect(await lost('endpoints: [{ url: "http://other:80" }]')).toEqual(['u'])
  }
  expect(await lost('endpoints: [{ url: "http://third:80" }, { url: "http://[::1]" }]')).toEqual([])
})

test('a silent name server does not hold up the start', async () => {
  const upstreams = new Upstreams({
    setEndpoints: () => undefined,
    tell: () => undefined,
    log: { warn: () => undefined, info: () => undefined },
    lookup: () => Promise.withResolvers<Found>().promise,
    probe: async () => null,
    inUse: () => false,
    clock: () => Date.now(),
  })
  started.push(upstreams)
  const configured = upstreams.configure({ config: configOf(named), upstreamFiles: files })
  await vi.advanceTimersByTimeAsync(5_001)
  await configured
  expect(upstreams.states()[0]?.endpoints[0]?.health).toBe('unresolved')
})

test('sticky tokens say nothing, and are the same wherever the key is', async () => {
  const tokens = async (stickyKey: string): Promise<(string | undefined)[]> => {
    const it = scene()
    const sealed = files.map((file) => ({ ...file, stickyKey }))
    await it.upstreams.configure({ config: configOf(two), upstreamFiles: sealed })
    return it.upstreams.states().flatMap((u) => u.endpoints.map(({ token }) => token))
  }
  const [one, other] = await tokens('k1')
  expect(one).toMatch(/^[\w-]{22}$/)
  expect(one).not.toBe(other)
  expect(await tokens('k1')).toEqual([one, other])
  expect(await tokens('k2')).not.toEqual([one, other])
})
