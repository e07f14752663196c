/**
 * The mesh as it is used: real programs in namespaces of one machine, with real WireGuard packets
 * over a switch, one story from the first token to the last node.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MeshStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import { bodyBytes, probePorts } from '../harness/mesh-probe.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const edge = join(root, 'edge')
const node = process.execPath
const prefix = `edge-mesh-${process.pid}`
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-'))
const coordinatorState = join(folder, 'coordinator')
const names = ['a', 'b', 'c', 'd'] as const
const coordinators = ['https://10.77.0.1:7443', 'https://[fd77::1]:7443'] as const

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const programs = programsOn(here)
const { start, run, end } = programs

function startCoordinator(): Running {
  return start(1, edge, [
    'mesh',
    'coordinator',
    '--listen',
    '[::]:7443',
    '--state',
    coordinatorState,
  ])
}

async function token(...flags: readonly string[]): Promise<string> {
  const { code, output } = await run(1, 'mesh', 'token', '--state', coordinatorState, ...flags)
  expect(code, output).toBe(0)
  return output.trim()
}

function stateOf(machine: number): string {
  return join(folder, names[machine - 1] ?? '')
}

function up(machine: number, secret: string, ...flags: readonly string[]): Running {
  // The third one comes over IPv6: it is then known to the others by that address.
  const coordinator = coordinators[machine === 3 ? 1 : 0]
  const name = names[machine - 1] ?? ''
  // The kernel's own WireGuard has its own test (test/e2e/mesh-kernel.ts): it outlives its agent.
  const where = ['--coordinator', coordinator, '--mode', 'tun']
  const args = ['mesh', 'up', ...where, '--name', name, ...flags]
  const given = secret === '' ? [] : ['--token', secret]
  return start(machine, edge, [...args, '--state', stateOf(machine), ...given])
}

const status = (machine: number): Promise<MeshStatus> => programs.status(machine, stateOf(machine))

let probes: Probe[] = []
let agents: Running[] = []
let coordinator: Running
let thrice = ''
const addresses: string[][] = []

async function expectAllReachAll(): Promise<void> {
  for (const [from, probe] of probes.entries()) {
    for (const address of addresses.filter((_, to) => to !== from).flat()) {
      const took = await probe.ask({ ask: 'ping', address, timeoutMs: 15_000 })
      expect(took, `${names[from]} → ${address}`).not.toBeNull()
    }
  }
}

const missing = missingForMachines()
if (missing !== '') console.warn(`NOT RUN: the mesh, because there is no ${missing} here`)
/** The story's next part. */
const story = test.runIf(missing === '')

beforeAll(() => {
  if (missing === '') machines.all = makeMachines(prefix, 4)
})

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

story(
  'three nodes join with one token, and each has its addresses',
  { timeout: 120_000 },
  async () => {
    coordinator = startCoordinator()
    expect(await ready(coordinator)).toMatch(/^ready coordinator=https:/)
    thrice = await token('--uses', '3', '--label', 'site=lab', '--cidr', '10.30.0.0/16')
    agents = [up(1, thrice), up(2, thrice), up(3, thrice, '--advertise', '10.30.3.0/24')]
    for (const agent of agents) {
      const line = await ready(agent)
      expect(line).toMatch(/^ready name=[abc] addresses=100\.96\.\S+,fd\S+ interface=edge0$/)
      addresses.push(/addresses=(\S+)/.exec(line)?.[1]?.split(',') ?? [])
    }
    expect(statSync(join(stateOf(1), 'identity.json')).mode & 0o777).toBe(0o600)
    expect(here().ip(1, 'link', 'show', 'edge0')).toContain('mtu 1420')
  },
)

story(
  'every mesh address reaches every other one, over both families',
  { timeout: 120_000 },
  async () => {
    probes = [1, 2, 3].map((machine) => new Probe(start, machine, names[machine - 1] ?? ''))
    for (const probe of probes) await probe.begin()
    await expectAllReachAll()
    const { self, peers } = await status(1)
    expect(self).toMatchObject({ name: 'a', addresses: addresses[0], mode: 'tun' })
    expect(peers.map(({ name, path, endpoint }) => ({ name, path, endpoint }))).toEqual([
      { name: 'b', path: 'direct', endpoint: '10.77.0.2:51820' },
      { name: 'c', path: 'direct', endpoint: '[fd77::3]:51820' },
    ])
    expect(peers.every(({ lastHandshakeMs }) => (lastHandshakeMs ?? -1) >= 0)).toBe(true)
  },
)

story('a range behind a node is reached through it', { timeout: 60_000 }, async () => {
  here().ip(3, 'address', 'add', '10.30.3.7/32', 'dev', 'lo')
  const took = await probes[0]?.ask({ ask: 'ping', address: '10.30.3.7', timeoutMs: 15_000 })
  expect(took).not.toBeNull()
  expect(here().ip(1, 'route', 'show', '10.30.3.0/24')).toContain('dev edge0')
})

story(
  'a proxy on one node serves a backend on another over h1, h2 and h3',
  { timeout: 120_000 },
  async () => {
    const listen = ['--waf', 'off', '--http', 'off', '--https', '0.0.0.0:8443']
    const backend = ['--backend', `mesh://c:${probePorts.http}`, '--mesh-state', stateOf(2)]
    const proxy = start(2, edge, ['run', ...listen, ...backend])
    expect(await ready(proxy)).toMatch(/^ready /)
    for (const version of ['1.1', '2'] as const) {
      const got = await probes[0]?.ask({ ask: 'get', url: 'https://10.77.0.2:8443/', version })
      expect(got).toEqual({ status: 200, node: 'c', bytes: bodyBytes })
    }
    const { output } = await run(1, 'health', '--h3', 'https://10.77.0.2:8443/')
    expect(output).toContain('HTTP/3 200')
    expect(await stop(proxy)).toBe(0)
  },
)

story(
  'a node comes and is removed under a flow that loses nothing',
  { timeout: 120_000 },
  async () => {
    const address = addresses[1]?.[0] ?? ''
    await probes[0]?.ask({ ask: 'begin', address, intervalMs: 5 })
    const fourth = up(4, await token())
    expect(await ready(fourth)).toMatch(/^ready name=d /)
    await until('a knows d', async () => (await status(1)).peers.some(({ name }) => name === 'd'))
    const removed = await run(1, 'mesh', 'remove', 'd', '--state', coordinatorState)
    expect(removed).toEqual({ code: 0, output: 'removed d\n' })
    expect(await fourth.ended).toBe(1)
    expect(fourth.output()).toContain('this node was removed from the mesh')
    await until('a forgot d', async () => (await status(1)).peers.every(({ name }) => name !== 'd'))
    const flow = (await probes[0]?.ask({ ask: 'end' })) as { sent: number; lost: number }
    expect(flow.sent).toBeGreaterThan(100)
    expect(flow.lost).toBe(0)
    expect(() => here().ip(4, 'link', 'show', 'edge0')).toThrow()
  },
)

/** 5 ms each; `EDGE_MESH_PINGS=10000` takes a minute. */
const pings = Number(process.env['EDGE_MESH_PINGS'] ?? 2_000)

story('keys change under a flow that loses nothing', { timeout: 240_000 }, async () => {
  const [address = ''] = addresses[1] ?? []
  await probes[0]?.ask({ ask: 'begin', address, intervalMs: 5 })
  const began = performance.now()
  // First of the node that answers, then of the one that asks.
  for (const machine of [2, 1]) {
    expect((await run(machine, 'mesh', 'rotate', '--state', stateOf(machine))).code).toBe(0)
    const output = () => agents[machine - 1]?.output() ?? ''
    await until('the key changed', () => output().includes('the next key is in use'), 60_000)
  }
  await sleep(Math.max(1_000, pings * 5 - (performance.now() - began)))
  const flow = (await probes[0]?.ask({ ask: 'end' })) as { sent: number; lost: number }
  expect(flow.sent).toBeGreaterThan(500)
  expect(flow.lost).toBe(0)
})

story(
  'without its coordinator the mesh goes on, also after a restart of a node',
  { timeout: 120_000 },
  async () => {
    expect(await stop(coordinator)).toBe(0)
    const [, second] = agents
    if (second !== undefined) expect(await stop(second)).toBe(0)
    expect(() => here().ip(2, 'link', 'show', 'edge0')).toThrow()
    const again = up(2, '')
    agents[1] = again
    expect(await ready(again)).toContain(addresses[1]?.join(','))
    await expectAllReachAll()
    expect((await status(2)).coordinator.isConnected).toBe(false)
    coordinator = startCoordinator()
    await ready(coordinator)
    await until('it is connected', async () => (await status(2)).coordinator.isConnected, 60_000)
  },
)

story('what a node says anew at its start reaches the others', { timeout: 120_000 }, async () => {
  const [, second] = agents
  if (second === undefined) throw new Error('there is no second agent')
  second.child.kill('SIGKILL') // its socket stays behind, its interface does not
  await second.ended
  expect(() => here().ip(2, 'link', 'show', 'edge0')).toThrow()
  agents[1] = up(2, '', '--port', '51999')
  await ready(agents[1])
  const isThere = async () =>
    (await status(1)).peers.some(({ endpoint }) => endpoint === '10.77.0.2:51999')
  await until('a knows the new port', isThere)
  await expectAllReachAll()
})

story(
  'what cannot be is refused with its mend, and nothing of others is touched',
  { timeout: 120_000 },
  async () => {
    const refused = async (secret: string, ...flags: readonly string[]) => {
      const began = performance.now()
      const running = up(4, secret, ...flags)
      const code = await running.ended
      expect(performance.now() - began).toBeLessThan(10_000)
      expect([code, running.output()]).toEqual([1, expect.stringContaining('mend:')])
      return running.output()
    }
    rmSync(stateOf(4), { recursive: true })
    here().ip(4, 'link', 'add', 'theirs', 'type', 'veth', 'peer', 'name', 'edge0')
    expect(await refused(thrice)).toContain(
      'an interface edge0 is there already, and it is not ours',
    )
    expect(here().ip(4, 'link', 'show', 'edge0')).toContain('theirs')
    here().ip(4, 'link', 'delete', 'theirs')
    expect(await refused(thrice, '--mtu', '1480')).toContain("do not fit into the link's 1500")
    const port = start(4, node, ['-e', udpServer])
    await until('the port is taken', () => port.output().includes('taken'))
    expect(await refused(thrice)).toContain('UDP port 51820 is taken')
    expect(() => here().ip(4, 'link', 'show', 'edge0')).toThrow()
    await stop(port)
    rmSync(stateOf(4), { recursive: true })
    expect(await refused(thrice)).toContain('it was used already')
    expect((await run(4, 'mesh', 'status', '--state', stateOf(4))).code).toBe(3)
  },
)

const udpServer = `const s = require('dgram').createSocket('udp6')
s.bind(51820, () => console.log('taken'))`

story('an agent that ends takes its interface and nothing else', { timeout: 60_000 }, async () => {
  for (const agent of agents) expect(await stop(agent)).toBe(0)
  for (const machine of [1, 2, 3]) {
    expect(() => here().ip(machine, 'link', 'show', 'edge0')).toThrow()
    expect(here().ip(machine, 'address', 'show', 'dev', 'eth0')).toContain(`10.77.0.${machine}/24`)
  }
})
