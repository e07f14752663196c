/** The adapter against an API server over real sockets, and agents' requests over TLS. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Api } from '../../kubernetes/api.ts'
import { FakeApiServer } from '../../kubernetes/api-server.fixture.ts'
import { CoordinatorClient } from '../client.ts'
import { type RunningCoordinator, startCoordinator } from '../coordinator/coordinator.ts'
import { type CoordinatorState, openState } from '../coordinator/state.ts'
import { MeshFault } from '../fault.ts'
import { makeFolder } from '../folder.ts'
import { type Identity, identityOf, signRecord } from '../identity.ts'
import { nodeOf } from '../node.ts'
import { Adapter, keptNetworks } from './adapter.ts'
import type { MembersOptions } from './members.ts'
import { annotations, managedLabel, manager } from './terms.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
const place = { namespace: 'edge', configMap: 'edge-mesh' }
const account = 'system:serviceaccount:edge:agent'
const audience = 'edge-mesh'
const networks = { ipv4: '100.96.0.0/16', ipv6: 'fd00:1::/64' }
const waitMs = { timeout: 20_000, interval: 50 }

let folder = ''
let server: FakeApiServer
let clients: CoordinatorClient[] = []
let running: Running

interface Running {
  readonly api: Api
  readonly state: CoordinatorState
  readonly coordinator: RunningCoordinator
  stop(): Promise<void>
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-kubernetes-'))
  server = new FakeApiServer()
  await server.start()
  server.put('configmaps', { metadata: { name: 'edge-mesh' } })
  running = await start('coordinator')
}, 60_000) // keys and certificates, beside other tests
afterEach(async () => {
  for (const client of clients) await client.close()
  clients = []
  await running.stop()
  await server.stop()
  rmSync(folder, { recursive: true })
})

async function start(name: string, more: Partial<MembersOptions> = {}): Promise<Running> {
  const api = new Api({ server: server.url, ca: null, tokenFile: null })
  const state = await openState(join(folder, name), (await keptNetworks(api, place)) ?? networks)
  const adapter = new Adapter({
    ...state,
    ...place,
    api,
    folder: join(folder, name),
    account,
    audience,
    advertise: [],
    annotatedNodes: false,
    locationLabel: null,
    log: quiet,
    ...more,
  })
  const ending = new AbortController()
  const { promise, resolve } = Promise.withResolvers<void>()
  const ended = adapter.run(ending.signal, resolve)
  await promise
  const { admit } = adapter
  const where = { host: '127.0.0.1', port: 0, log: quiet, admit }
  const coordinator = await startCoordinator(state, where)
  return {
    api,
    state,
    coordinator,
    async stop() {
      ending.abort()
      await coordinator.close()
      await api.close()
      await ended
      state.registry.close()
    },
  }
}

type Marks = Readonly<Record<string, string>>

function putNode(number: number, more: { annotations?: Marks; labels?: Marks } = {}): void {
  server.put('nodes', {
    metadata: { name: `node-${number}`, uid: `uid-${number}`, ...more },
    spec: { podCIDRs: [`10.244.${number}.0/24`, `fd00:244:${number}::/64`] },
    status: { addresses: [{ type: 'InternalIP', address: `192.0.2.${number}` }] },
  })
}

/** The kubelet's token of a pod on a node. */
function token(node: string, more: object = {}): string {
  const text = `head.${Buffer.from(node).toString('hex')}${Object.keys(more).length}.signature`
  const extra = { 'authentication.kubernetes.io/node-name': [node] }
  const status = { authenticated: true, audiences: [audience], user: { username: account, extra } }
  server.reviews.set(text, { ...status, ...more })
  return text
}

interface TestAgent {
  readonly identity: Identity
  join(token: string, more?: object): Promise<string>
}

async function agent(name: string): Promise<TestAgent> {
  makeFolder(join(folder, name))
  const identity = await identityOf(join(folder, name))
  const { pin } = running.state
  const client = new CoordinatorClient(running.coordinator.address, pin, identity)
  clients.push(client)
  const key = identity.wireguard.publicKey
  const record = { name, key, port: 51_820, endpoint: '192.0.2.9:51820', advertise: [], serial: 1 }
  return {
    identity,
    async join(text, more = {}) {
      try {
        await client.join(signRecord(identity, { ...record, ...more }), text)
        return 'fine'
      } catch (error) {
        return error instanceof MeshFault ? error.code : String(error)
      }
    },
  }
}

function shown(name: string): Record<string, string> {
  return server.get('nodes', name)?.metadata.annotations ?? {}
}

function conditions(resource: 'peers' | 'gateways', name: string): Record<string, string> {
  const { status } = (server.get(resource, name) ?? {}) as {
    status?: { conditions: { type: string; status: string; reason: string; message: string }[] }
  }
  return Object.fromEntries(
    (status?.conditions ?? []).map((one) => [one.type, `${one.reason} ${one.message}`]),
  )
}

const keyOf = (number: number): string => Buffer.alloc(32, number).toString('base64')

test('a node joins with the token of its pod, and Kubernetes shows it', async () => {
  putNode(1)
  const one = await agent('node-1')
  expect(await one.join(token('node-1'))).toBe('fine')
  const key = one.identity.wireguard.publicKey
  await vi.waitFor(() => expect(shown('node-1')[annotations.seedKey]).toBe(key), waitMs)
  const ranges = '10.244.1.0/24,fd00:244:1::/64'
  await vi.waitFor(() => expect(shown('node-1')[annotations.ranges]).toBe(ranges), waitMs)
  expect(shown('node-1')[annotations.seedAddress]).toMatch(/^100\.96\./)
  expect(shown('node-1')[annotations.addresses]).toMatch(/^100\.96\.[\d.]+,fd00:1::/)
  await vi.waitFor(() => expect(conditions('peers', 'node-1')).toHaveProperty('KeyGenuine'), waitMs)
  const peer = server.get('peers', 'node-1')
  expect(peer?.['spec']).toMatchObject({ publicKey: key, podIPs: ['192.0.2.1'] })
  expect(peer?.['status']).toMatchObject({ allowedIPs: ['10.244.1.0/24', 'fd00:244:1::/64'] })
  expect(JSON.stringify(peer)).not.toContain(one.identity.wireguard.privateKey)
  const [entry] = running.state.registry.snapshot().nodes
  if (entry === undefined) throw new Error('no entry')
  expect(nodeOf(entry)?.advertise).toEqual(['10.244.1.0/24', 'fd00:244:1::/64'])
  const files = server.get('configmaps', 'edge-mesh')?.['data'] as Record<string, string>
  expect(files['pin']).toBe(running.state.pin)
  expect(JSON.parse(files['names.json'] ?? '')).toEqual({ 'node-1': entry.addresses })
})

test('when all is as it should be nothing is written', async () => {
  putNode(1)
  await (await agent('node-1')).join(token('node-1'))
  await vi.waitFor(() => expect(conditions('peers', 'node-1')).toHaveProperty('KeyGenuine'), waitMs)
  await vi.waitFor(async () => {
    const before = server.count('PATCH')
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(server.count('PATCH')).toBe(before)
  }, waitMs)
  const writes = server.count('PATCH') + server.count('POST /api/v1')
  putNode(2) // a node without an agent: all is looked at again
  server.bookmark()
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  expect(server.count('PATCH') + server.count('POST /api/v1')).toBe(writes)
  expect(server.count('GET /api/v1/nodes?limit')).toBe(1)
}, 60_000)

test.each([
  ['of another node', 'node-2', {}, 'NAME_OTHER'],
  ['that the API server does not know', 'node-1', { authenticated: false }, 'TOKEN_REFUSED'],
  ['for something else', 'node-1', { audiences: ['vault'] }, 'TOKEN_REFUSED'],
  [
    'of another account',
    'node-1',
    { user: { username: 'system:serviceaccount:edge:default' } },
    'ACCOUNT_OTHER',
  ],
  ['that is bound to nothing', 'node-1', { user: { username: account } }, 'TOKEN_UNBOUND'],
] as const)('a token %s lets nobody in', async (_, node, more, code) => {
  putNode(1)
  putNode(2)
  expect(await (await agent('node-1')).join(token(node, more))).toBe(code)
  expect(running.state.registry.snapshot().nodes).toEqual([])
})

test('a server that tells only the pod is asked where that pod is', async () => {
  putNode(1)
  const extra = {
    'authentication.kubernetes.io/pod-name': ['agent-x'],
    'authentication.kubernetes.io/pod-uid': ['pod-uid'],
  }
  const text = token('node-1', { user: { username: account, extra } })
  const one = await agent('node-1')
  expect(await one.join(text)).toBe('TOKEN_UNBOUND')
  server.put('pods', { metadata: { name: 'agent-x', uid: 'other' }, spec: { nodeName: 'node-1' } })
  expect(await one.join(text)).toBe('TOKEN_UNBOUND')
  server.put('pods', {
    metadata: { name: 'agent-x', uid: 'pod-uid' },
    spec: { nodeName: 'node-1' },
  })
  expect(await one.join(text)).toBe('fine')
})

test('an agent advertises nothing that its operator did not allow', async () => {
  putNode(1)
  const one = await agent('node-1')
  const text = token('node-1')
  expect(await one.join(text, { advertise: ['10.9.0.0/16'] })).toBe('CIDR_NOT_ALLOWED')
  expect(await one.join(text)).toBe('fine')
  expect(await one.join(text, { name: 'node-2', serial: 2 })).toBe('NAME_OTHER')
})

test('a forged key is put right and told of, and reaches nobody', async () => {
  putNode(1)
  const one = await agent('node-1')
  await one.join(token('node-1'))
  const key = one.identity.wireguard.publicKey
  await vi.waitFor(() => expect(shown('node-1')[annotations.key]).toBe(key), waitMs)
  const seen = server.get('nodes', 'node-1')
  if (seen === undefined) throw new Error('no node')
  const forged = {
    ...shown('node-1'),
    [annotations.seedKey]: keyOf(9),
    [annotations.key]: keyOf(9),
  }
  server.put('nodes', { ...seen, metadata: { ...seen.metadata, annotations: forged } })
  await vi.waitFor(() => expect(shown('node-1')[annotations.key]).toBe(key), waitMs)
  await vi.waitFor(() => expect(server.all('events')).toHaveLength(1), waitMs)
  expect(server.all('events')[0]).toMatchObject({
    reason: 'MeshKeyForged',
    involvedObject: { kind: 'Node', name: 'node-1' },
  })
  const said = (): string | undefined => conditions('peers', 'node-1')['KeyGenuine']
  await vi.waitFor(() => expect(said()).toMatch(/^PutRight/), waitMs)
  expect(JSON.stringify(running.state.registry.snapshot())).not.toContain(keyOf(9))
})

test('a node with annotations alone is told of, and taken only where that is allowed', async () => {
  const seen = { [annotations.seedAddress]: '100.64.2.2', [annotations.seedKey]: keyOf(2) }
  putNode(2, { annotations: seen })
  await vi.waitFor(() => expect(server.all('events')).toHaveLength(1), waitMs)
  expect(server.all('events')[0]).toMatchObject({ reason: 'MeshKeyIgnored' })
  expect(running.state.registry.snapshot().nodes).toEqual([])
  await running.stop()
  running = await start('lenient', { annotatedNodes: true })
  const nodes = () => running.state.registry.snapshot().nodes.flatMap((one) => nodeOf(one) ?? [])
  await vi.waitFor(() => expect(nodes()).toHaveLength(1), waitMs)
  expect(nodes()[0]).toMatchObject({
    name: 'node-2',
    key: keyOf(2),
    endpoint: '192.0.2.2:51820',
    advertise: ['10.244.2.0/24', 'fd00:244:2::/64', '100.64.2.2/32'],
  })
  expect(shown('node-2')).toEqual(seen)
})

test('a label of the Node says where a node stands, and may be changed', async () => {
  await running.stop()
  const locationLabel = 'topology.kubernetes.io/zone'
  running = await start('zones', { locationLabel })
  putNode(1, { labels: { [locationLabel]: 'north' } })
  await (await agent('node-1')).join(token('node-1'))
  const place = () => running.state.registry.entries('all')[0]?.location
  await vi.waitFor(() => expect(place()).toBe('north'), waitMs)
  putNode(1, { labels: { [locationLabel]: 'south' } })
  await vi.waitFor(() => expect(place()).toBe('south'), waitMs)
  putNode(1)
  await vi.waitFor(() => expect(place()).toBeUndefined(), waitMs)
})

test('a node that is removed leaves nothing', async () => {
  putNode(1)
  putNode(2)
  await (await agent('node-1')).join(token('node-1'))
  await (await agent('node-2')).join(token('node-2'))
  await vi.waitFor(() => expect(server.get('peers', 'node-2')).toBeDefined(), waitMs)
  await running.stop()
  server.remove('nodes', 'node-2') // while the coordinator is away: it lists again
  running = await start('coordinator')
  const left = () => running.state.registry.snapshot().nodes.length
  await vi.waitFor(() => expect(left()).toBe(1), waitMs)
  await vi.waitFor(() => expect(server.get('peers', 'node-2')).toBeUndefined(), waitMs)
  expect(server.get('peers', 'node-1')).toBeDefined()
})

test('a coordinator that lost its folder knows the mesh from the objects', async () => {
  putNode(1)
  putNode(2)
  await (await agent('node-1')).join(token('node-1'))
  await (await agent('node-2')).join(token('node-2'))
  await vi.waitFor(() => expect(server.get('peers', 'node-2')).toBeDefined(), waitMs)
  const text = () =>
    running.state.registry
      .snapshot()
      .nodes.map(({ id, addresses, record }) => JSON.stringify([id, addresses, record]))
      .toSorted()
  const before = text()
  await running.stop()
  running = await start('another folder')
  expect(text()).toEqual(before)
  expect(running.state.registry.networks).toEqual(networks)
})

test('a node whose folder was lost takes its name back', async () => {
  putNode(1)
  await (await agent('node-1')).join(token('node-1'))
  rmSync(join(folder, 'node-1'), { recursive: true })
  const again = await agent('node-1')
  expect(await again.join(token('node-1'))).toBe('fine')
  expect(running.state.registry.snapshot().nodes.map(({ id }) => id)).toEqual([again.identity.id])
})

test('a Peer that a person wrote is in the mesh while it is there', async () => {
  const nodes = () => running.state.registry.snapshot().nodes.flatMap((one) => nodeOf(one) ?? [])
  const metadata = { name: 'router', namespace: 'edge' }
  const put = (spec: object) => server.put('peers', { metadata, spec })
  put({
    publicKey: keyOf(3),
    endpoint: '198.51.100.3',
    listenPort: 4_000,
    allowedIPs: ['10.3.0.0/16'],
  })
  await vi.waitFor(
    () => expect(conditions('peers', 'router')['Accepted']).toMatch(/^Joined/),
    waitMs,
  )
  expect(nodes()).toMatchObject([
    { name: 'router', key: keyOf(3), endpoint: '198.51.100.3:4000', advertise: ['10.3.0.0/16'] },
  ])
  const addresses = nodes()[0]?.addresses
  put({ publicKey: keyOf(4), allowedIPs: [] })
  await vi.waitFor(
    () => expect(nodes()[0]).toMatchObject({ key: keyOf(4), endpoint: null }),
    waitMs,
  )
  expect(nodes()[0]?.addresses).toEqual(addresses)
  server.remove('peers', 'router')
  await vi.waitFor(() => expect(nodes()).toEqual([]), waitMs)
})

test('what cannot be is said in conditions, per range, and harms nobody else', async () => {
  putNode(1)
  await (await agent('node-1')).join(token('node-1'))
  await vi.waitFor(() => expect(shown('node-1')[annotations.ranges]).toContain('fd00'), waitMs)
  const put = (name: string, spec: object) =>
    server.put('peers', { metadata: { name, namespace: 'edge' }, spec })
  put('node-1-copy', { publicKey: keyOf(5), allowedIPs: ['10.244.1.0/24', '10.5.0.0/16'] })
  put('same-key', { publicKey: keyOf(5) })
  put('in-the-mesh', { publicKey: keyOf(6), allowedIPs: ['100.96.7.0/24'] })
  put('bits', { publicKey: keyOf(7), allowedIPs: ['10.5.0.1/16'] })
  server.put('gateways', {
    metadata: { name: 'hub', namespace: 'edge' },
    spec: { publicKey: keyOf(8), endpoint: '198.51.100.8:51820', podCIDRs: ['10.8.0.0/16'] },
  })
  const told = (name: string, type: string) => conditions('peers', name)[type]
  const taken = 'RangeTaken 10.244.1.0/24: node-1 claimed it before'
  await vi.waitFor(() => expect(told('node-1-copy', 'Conflicted')).toBe(taken), waitMs)
  await vi.waitFor(() => expect(told('same-key', 'Accepted')).toMatch(/^KeyTaken/), waitMs)
  await vi.waitFor(() => expect(told('in-the-mesh', 'Accepted')).toMatch(/^CidrOverlaps/), waitMs)
  await vi.waitFor(() => expect(told('bits', 'Accepted')).toMatch(/^Invalid 10\.5\.0\.1/), waitMs)
  const ofHub = () => conditions('gateways', 'hub')['Accepted']
  await vi.waitFor(() => expect(ofHub()).toMatch(/^Joined/), waitMs)
  expect(server.get('gateways', 'hub')?.['status']).toMatchObject({ allowedIPs: ['10.8.0.0/16'] })
  put('node-1', { publicKey: keyOf(9) })
  await vi.waitFor(() => expect(told('node-1', 'Accepted')).toMatch(/^NameTaken/), waitMs)
  expect(server.get('peers', 'node-1')?.metadata.labels?.[managedLabel]).not.toBe(manager)
})

test('the API server may be away and forget: the mesh goes on and catches up', async () => {
  putNode(1)
  const one = await agent('node-1')
  await one.join(token('node-1'))
  await vi.waitFor(() => expect(shown('node-1')).toHaveProperty(annotations.key), waitMs)
  server.goneBefore = 1_000_000
  server.endWatches()
  await vi.waitFor(() => expect(server.count('GET /api/v1/nodes?limit')).toBeGreaterThan(1), waitMs)
  server.goneBefore = 0
  await server.stop()
  const two = await agent('node-2')
  expect(await two.join('a.b.c')).not.toBe('fine')
  await server.start()
  putNode(2)
  expect(await two.join(token('node-2'))).toBe('fine')
  await vi.waitFor(() => expect(shown('node-2')).toHaveProperty(annotations.key), waitMs)
}, 60_000)
