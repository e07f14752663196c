/** Controllers against an API server over real sockets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FakeApiServer } from './api-server.fixture.ts'
import { Api } from './api.ts'
import { Controller } from './controller.ts'
import type { LeaseSpec } from './objects.ts'

// A busy machine may take long for each of several waits.
vi.setConfig({ testTimeout: 120_000 })

let server: FakeApiServer
let folder = ''
const stops: (() => Promise<void>)[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'controller-'))
  writeFileSync(join(folder, 'token'), 'first\n')
  server = new FakeApiServer()
  await server.start()
  server.put('services', service)
  for (const name of ['n1', 'n2']) server.put('nodes', node(name))
  server.put('endpointslices', slice('n1', 'n2'))
})

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()))
  await server.stop()
  rmSync(folder, { recursive: true })
})

const service = {
  metadata: { name: 'edge', namespace: 'here' },
  spec: { type: 'LoadBalancer', loadBalancerClass: 'x/y', ipFamilies: ['IPv4'] },
  status: { loadBalancer: {} },
}

function node(name: string, ready = 'True') {
  return {
    metadata: { name },
    status: {
      conditions: [{ type: 'Ready', status: ready }],
      addresses: [{ type: 'InternalIP', address: `10.0.0.${name.slice(1)}` }],
    },
  }
}

function slice(...nodes: string[]) {
  const endpoints = nodes.map((nodeName) => ({ nodeName, conditions: { ready: true } }))
  const labels = { 'kubernetes.io/service-name': 'edge' }
  return { metadata: { name: 'edge-1', namespace: 'here', labels }, endpoints }
}

/** Starts one; its end gives the lease back unless the server is gone. */
function start(me = 'one') {
  const api = new Api({ server: server.url, ca: null, tokenFile: join(folder, 'token') })
  const lines: string[] = []
  const add = (fields: object, message: string) =>
    void lines.push(`${message} ${JSON.stringify(fields)}`)
  const controller = new Controller(api, {
    namespace: 'here',
    selector: '',
    loadBalancerClass: 'x/y',
    addressTypes: ['InternalIP'],
    lease: 'lease',
    me,
    times: { durationSeconds: 2, renewDeadlineMs: 1_000, retryMs: 100 },
    log: { info: add, warn: add, error: add },
  })
  const ending = new AbortController()
  const ended = controller.run(ending.signal)
  const stop = async () => {
    ending.abort()
    await ended
    await api.close()
  }
  stops.push(stop)
  return { controller, lines, stop }
}

function shown(): string {
  const status = server.get('services', 'edge')?.['status'] as {
    loadBalancer: { ingress?: { ip: string; ipMode: string }[] }
  }
  return (status.loadBalancer.ingress ?? []).map(({ ip, ipMode }) => `${ip} ${ipMode}`).join()
}

/** Waits until it is so. */
function until(what: string | (() => string), isTrue: () => boolean): Promise<void> {
  const look = (): void => {
    if (!isTrue()) throw new Error(typeof what === 'string' ? what : what())
  }
  return vi.waitFor(look, { timeout: 30_000, interval: 20 })
}

const shows = (...hosts: number[]) =>
  until(
    () => `shows ${shown()}`,
    () => shown() === hosts.map((host) => `10.0.0.${host} VIP`).join(),
  )
const patches = () => server.count('PATCH /api/v1/namespaces/here/services/edge/status')
const leaseHolder = () =>
  (server.get('leases', 'lease')?.['spec'] as LeaseSpec | undefined)?.holderIdentity

test('addresses are written, follow nodes and pods, and are written once', async () => {
  const { controller } = start()
  await shows(1, 2)
  expect(patches()).toBe(1)
  server.put('nodes', node('n2', 'Unknown'))
  await shows(1)
  server.put('nodes', node('n2'))
  await shows(1, 2)
  server.put('endpointslices', slice('n2'))
  await shows(2)
  server.remove('nodes', 'n1')
  server.remove('endpointslices', 'edge-1')
  await shows()
  expect(patches()).toBe(5)
  // What changes nothing writes nothing.
  server.put('nodes', node('n3'))
  await until('the node is seen', () => controller.state().watches[2]?.objects === 2)
  expect(patches()).toBe(5)
})

test('a Service of another class is left alone', async () => {
  const spec = { ...service.spec, loadBalancerClass: 'x/z' }
  server.put('services', { ...service, metadata: { name: 'other', namespace: 'here' }, spec })
  const { controller } = start()
  await shows(1, 2)
  expect(Object.keys(controller.state().addresses)).toEqual(['edge'])
  expect(server.count('PATCH')).toBe(1)
})

test('a watch that ends is resumed where a bookmark left it, without a list', async () => {
  start()
  await shows(1, 2)
  server.bookmark()
  const lists = server.count('GET /api/v1/nodes?limit')
  server.endWatches()
  const resumed = () => server.seen.filter(({ path }) => path.startsWith('/api/v1/nodes?watch'))
  await until('it watches again', () => resumed().length > 1)
  const query = new URLSearchParams(resumed().at(-1)?.path.split('?')[1])
  expect(Number(query.get('resourceVersion'))).toBeGreaterThan(104)
  expect(query.get('allowWatchBookmarks')).toBe('true')
  server.put('nodes', node('n2', 'False'))
  await shows(1)
  expect(server.count('GET /api/v1/nodes?limit')).toBe(lists)
})

test('410 Gone in the answer brings a new list, with what was missed', async () => {
  const { controller } = start()
  await shows(1, 2)
  await server.stop()
  // Without the event of its removal, only a list can tell.
  server.remove('nodes', 'n2')
  server.goneBefore = 10_000
  await server.start()
  await shows(1)
  expect(controller.state().watches[2]?.lists).toBeGreaterThan(1)
})

test('410 Gone in an event brings a new list', async () => {
  const { controller } = start()
  await shows(1, 2)
  server.endWatches({ type: 'ERROR', object: { kind: 'Status', code: 410, message: 'too old' } })
  const lists = () => controller.state().watches.map((watch) => watch.lists)
  await until('all are listed anew', () => lists().join() === '2,2,2')
  server.put('nodes', node('n2', 'False'))
  await shows(1)
})

test('the second one waits, and takes over when the first one gives back', async () => {
  const first = start('one')
  await shows(1, 2)
  const second = start('two')
  await until('both know all', () => second.controller.isSynced)
  expect(second.controller.state().isLeader).toBe(false)
  await first.stop()
  await until('the second leads', () => second.controller.state().isLeader)
  server.put('nodes', node('n2', 'False'))
  await shows(1)
  expect(leaseHolder()).toBe('two')
})

test('a lease that cannot be renewed is over: nothing is written until it is back', async () => {
  const { controller } = start()
  await shows(1, 2)
  server.refused.set('PUT', 500)
  await until('it leads no more', () => !controller.state().isLeader)
  const before = patches()
  server.put('nodes', node('n2', 'False'))
  await until('it was seen', () => server.count('PUT') > 20)
  expect([patches(), shown()]).toEqual([before, '10.0.0.1 VIP,10.0.0.2 VIP'])
  server.refused.delete('PUT')
  await shows(1)
})

test('a lease that another one took: it writes no more', async () => {
  const { controller } = start()
  await shows(1, 2)
  const spec = { holderIdentity: 'thief', leaseDurationSeconds: 3_600 }
  server.put('leases', { metadata: { name: 'lease' }, spec })
  await until('it leads no more', () => !controller.state().isLeader)
  server.put('nodes', node('n2', 'False'))
  await until('it was seen', () => controller.state().watches[2]?.objects === 2)
  expect(shown()).toBe('10.0.0.1 VIP,10.0.0.2 VIP')
})

test('what others put on the lease stays', async () => {
  const labels = { 'app.kubernetes.io/managed-by': 'Helm' }
  const annotations = { 'meta.helm.sh/release-name': 'mine' }
  const metadata = { name: 'lease', uid: 'u1', labels, annotations }
  server.put('leases', { metadata, spec: {} })
  const { stop } = start()
  await until('it leads', () => leaseHolder() !== undefined)
  await stop()
  expect(server.get('leases', 'lease')?.['metadata']).toMatchObject({
    uid: 'u1',
    labels,
    annotations,
  })
})

test('no API server for a time: afterwards all is as it should be', async () => {
  const { controller } = start()
  await shows(1, 2)
  await server.stop()
  await until('it leads no more', () => !controller.state().isLeader)
  server.put('nodes', node('n2', 'False'))
  await server.start()
  await shows(1)
})

test('a write that is refused is tried again, and said', async () => {
  server.refused.set('PATCH', 403)
  const { controller, lines } = start()
  await until('it is refused', () => controller.state().writes.refused > 1)
  expect(lines.join('\n')).toContain('the API answered 403: refused with 403')
  server.refused.delete('PATCH')
  await shows(1, 2)
})

test('an object that cannot be read is left out, and counted', async () => {
  server.put('nodes', { metadata: { name: 'n4' }, status: { addresses: 'none' } })
  const { controller } = start()
  await shows(1, 2)
  expect(controller.state().watches[2]).toMatchObject({ objects: 2, unreadable: 1 })
})

test('a token that changes is used from then on', async () => {
  start()
  await shows(1, 2)
  expect(server.seen.every(({ token }) => token === 'Bearer first')).toBe(true)
  writeFileSync(join(folder, 'token'), 'second')
  await until('it is used', () => server.seen.at(-1)?.token === 'Bearer second')
})
