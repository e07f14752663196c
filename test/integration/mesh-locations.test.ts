/**
 * Two locations and a node of its own: what goes from one location to the other goes through their
 * leaders, which carry it themselves (no machine here forwards), and goes on when one of them hangs
 * or dies. The last nodes of both locations could not reach each other in any other way.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MeshStatus, PeerStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import type { FlowResult } from '../harness/mesh-probe.ts'
import { type Machines, makeMachines } from '../harness/namespaces.ts'
import { cut, missingForNat } from '../harness/nat.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const edge = join(root, 'edge')
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-locations-'))
const coordinatorState = join(folder, 'coordinator')
/** By machine. The first two of a location are reached by everybody. */
const names = { 1: 'hub', 2: 'n1', 3: 'n2', 4: 'n3', 5: 's1', 6: 's2', 7: 's3' } as const
type NodeMachine = keyof typeof names
const nodes: readonly NodeMachine[] = [1, 2, 3, 4, 5, 6, 7]
const leaders: readonly NodeMachine[] = [2, 3, 5, 6]
/** What both leaders of the north offer. */
const sharedRange = '10.50.0.0/16'
const sharedAddress = '10.50.0.7'
/** Two seconds are a silence; a loaded machine takes longer. */
const patienceMs = 12_000

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const { start, run, status, end } = programsOn(here)
const stateOf = (machine: NodeMachine) => join(folder, names[machine])
const statusOf = (machine: NodeMachine): Promise<MeshStatus> => status(machine, stateOf(machine))
const agents = new Map<NodeMachine, Running>()
const probes = new Map<NodeMachine, Probe>()
const addresses = new Map<NodeMachine, readonly string[]>()
let coordinator: Running

async function join1(machine: NodeMachine): Promise<void> {
  const location = { n: 'north', s: 'south', h: '' }[names[machine].slice(0, 1)] ?? ''
  const labels = location === '' ? [] : ['--label', `location=${location}`]
  const made = await run(1, 'mesh', 'token', '--state', coordinatorState, ...labels)
  await startAgent(machine, ['--token', made.output.trim()])
}

async function startAgent(machine: NodeMachine, more: readonly string[] = []): Promise<void> {
  const place = leaders.includes(machine) ? ['--endpoint', `10.77.0.${machine}:51820`] : []
  const isShared = machine === 2 || machine === 3
  const ranges = isShared ? ['--advertise', sharedRange] : ['--advertise', `10.3${machine}.0.0/24`]
  const flags = ['--coordinator', 'https://10.77.0.1:7443', '--mode', 'tun', '--name']
  const own = [names[machine], '--state', stateOf(machine), ...place, ...ranges, ...more]
  const agent = start(machine, edge, ['mesh', 'up', ...flags, ...own])
  agents.set(machine, agent)
  const line = await ready(agent)
  expect(line).toMatch(/^ready name=/)
  addresses.set(machine, /addresses=(\S+)/.exec(line)?.[1]?.split(',') ?? [])
}

async function peer(machine: NodeMachine, of: NodeMachine): Promise<PeerStatus> {
  const { peers } = await statusOf(machine)
  const found = peers.find(({ name }) => name === names[of])
  if (found === undefined) throw new Error(`${names[machine]} does not know ${names[of]}`)
  return found
}

async function leadersAt(machine: NodeMachine): Promise<string> {
  const { location } = await statusOf(machine)
  return (location?.leaders ?? []).join(' ')
}

async function ping(from: NodeMachine, address: string): Promise<void> {
  const took = await probes.get(from)?.ask({ ask: 'ping', address, timeoutMs: 15_000 })
  expect(took, `${names[from]} → ${address}`).not.toBeNull()
}

/** What becomes of a flow while something happens to the way that it takes. */
async function flow(
  [from, address]: readonly [NodeMachine, string],
  event: () => unknown,
): Promise<FlowResult> {
  await ping(from, address)
  await probes.get(from)?.ask({ ask: 'begin', address, intervalMs: 20 })
  await sleep(1_000)
  await event()
  await sleep(patienceMs)
  return (await probes.get(from)?.ask({ ask: 'end' })) as FlowResult
}

function report(what: string, { gapMs, sent, lost }: FlowResult): void {
  console.log(`mesh-locations: ${what}: ${Math.round(gapMs)} ms silent, ${lost} of ${sent} lost`)
  expect(gapMs).toBeLessThan(patienceMs - 2_000)
}

const machineOf = (name: string | null): NodeMachine => {
  const found = nodes.find((machine) => names[machine] === name)
  if (found === undefined) throw new Error(`nobody is called ${name}`)
  return found
}

const missing = missingForNat()
if (missing !== '') console.warn(`NOT RUN: locations, because there is no ${missing} here`)
/** The story's next part. */
const story = test.runIf(missing === '')

beforeAll(() => {
  if (missing !== '') return
  const all = makeMachines(`edge-loc-${process.pid}`, nodes.length)
  machines.all = all
  cut(all, 4, ['10.77.0.5', '10.77.0.6', '10.77.0.7'])
  cut(all, 7, ['10.77.0.2', '10.77.0.3', '10.77.0.4'])
  for (const machine of [2, 3]) all.ip(machine, 'address', 'add', sharedAddress, 'dev', 'lo')
  all.ip(7, 'address', 'add', '10.37.0.7', 'dev', 'lo')
}, 60_000)

afterAll(async () => {
  for (const { child } of agents.values()) child.kill('SIGCONT')
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

story('nodes join by their location, and each has two leaders', { timeout: 180_000 }, async () => {
  const listen = ['--listen', '10.77.0.1:7443', '--state', coordinatorState]
  coordinator = start(1, edge, ['mesh', 'coordinator', ...listen])
  expect(await ready(coordinator)).toMatch(/^ready /)
  for (const machine of nodes) await join1(machine)
  await until('n1 and n2 lead the north', async () => (await leadersAt(4)) === 'n1 n2')
  await until('s1 and s2 lead the south', async () => (await leadersAt(7)) === 's1 s2')
  expect((await statusOf(1)).location).toBeNull()
  expect((await statusOf(2)).location).toEqual({
    name: 'north',
    leaders: ['n1', 'n2'],
    isLeader: true,
    isAway: false,
  })
})

story('everybody reaches everybody, over both families', { timeout: 240_000 }, async () => {
  for (const machine of nodes) {
    const probe = new Probe(start, machine, names[machine])
    await probe.begin()
    probes.set(machine, probe)
  }
  for (const from of nodes) {
    for (const to of nodes.filter((one) => one !== from)) {
      for (const address of addresses.get(to) ?? []) await ping(from, address)
    }
  }
  await ping(4, '10.37.0.7')
  await ping(1, sharedAddress)
})

story('status says through whom', { timeout: 60_000 }, async () => {
  const far = await peer(4, 7)
  expect(far).toMatchObject({ path: 'leader', relay: null, endpoint: null })
  expect(['n1', 'n2']).toContain(far.leader)
  expect(far.whyNotDirect).toContain('it is in location south')
  expect(await peer(4, 2)).toMatchObject({ path: 'direct', leader: null })
  expect(await peer(1, 4)).toMatchObject({ path: 'leader' })
  const { output } = await run(4, 'mesh', 'status', '--state', stateOf(4))
  expect(output).toContain('location north, led by n1 and n2')
})

story('a leader that hangs is gone round, and taken again', { timeout: 180_000 }, async () => {
  const before = machineOf((await peer(4, 7)).leader)
  const address = addresses.get(7)?.[0] ?? ''
  const hung = agents.get(before)?.child
  report('a leader hangs', await flow([4, address], () => hung?.kill('SIGSTOP')))
  expect((await peer(4, 7)).leader).not.toBe(names[before])
  hung?.kill('SIGCONT')
  await until('it leads again', async () => (await peer(4, 7)).leader === names[before], 60_000)
  await ping(4, address)
})

story('a leader that is ended hands over first', { timeout: 180_000 }, async () => {
  const before = machineOf((await peer(4, 7)).leader)
  const ending = agents.get(before)
  const result = await flow([4, addresses.get(7)?.[0] ?? ''], async () => {
    ending?.child.kill('SIGTERM')
    expect(await ending?.ended).toBe(0)
  })
  report('a leader is ended', result)
  // Of 600, fifty in a second: what was on its way.
  expect(result.lost).toBeLessThan(10)
  await startAgent(before)
  await until('it leads again', async () => (await peer(4, 7)).leader === names[before], 60_000)
})

story(
  'a leader dies while the coordinator is away: the other one does it all',
  { timeout: 180_000 },
  async () => {
    const before = machineOf((await peer(7, 4)).leader)
    const address = addresses.get(4)?.[0] ?? ''
    coordinator.child.kill('SIGSTOP')
    const dead = agents.get(before)
    const result = await flow([7, address], () => dead?.child.kill('SIGKILL'))
    report('a leader dies, no coordinator', result)
    coordinator.child.kill('SIGCONT')
    await startAgent(before)
    await until('it leads again', async () => (await peer(7, 4)).leader === names[before], 60_000)
  },
)

story('two gateways of one range stand in for each other', { timeout: 180_000 }, async () => {
  const { conflicts } = await statusOf(1)
  const reason = 'n1 claimed it before'
  expect(conflicts).toEqual([{ node: 'n2', prefix: sharedRange, reason, isReserve: true }])
  const { output: doctor } = await run(1, 'mesh', 'doctor', '--state', stateOf(1))
  expect(doctor).toContain('; 1 offers are in reserve (edge mesh status)')
  const gone = agents.get(2)
  report('a gateway dies', await flow([1, sharedAddress], () => gone?.child.kill('SIGKILL')))
  await startAgent(2)
  await until('both lead again', async () => (await leadersAt(4)) === 'n1 n2', 60_000)
  await ping(1, sharedAddress)
})

story('the last node of a location leads it', { timeout: 120_000 }, async () => {
  for (const machine of [5, 6] as const) {
    const { code } = await run(1, 'mesh', 'remove', names[machine], '--state', coordinatorState)
    expect(code).toBe(0)
  }
  await until('s3 leads', async () => (await leadersAt(7)) === 's3', 60_000)
  await ping(1, addresses.get(7)?.[0] ?? '')
  await ping(7, addresses.get(1)?.[1] ?? '')
})
