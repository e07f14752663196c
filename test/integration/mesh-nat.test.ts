/**
 * The mesh where NATs and cut paths are: two nodes that anybody reaches, and two that hide behind
 * NATs which give each flow another port. One story; times are printed, goals are in the words.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PeerStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import type { FlowResult, ProbeCommand } from '../harness/mesh-probe.ts'
import { type Machines, makeMachines } from '../harness/namespaces.ts'
import { closeUdp, cut, hide, missingForNat, type Nat } from '../harness/nat.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const edge = join(root, 'edge')
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-nat-'))
const coordinatorState = join(folder, 'coordinator')
/** By machine; the third and the fourth hide the fifth and the sixth. */
const names = { 1: 'hub', 2: 'far', 5: 'home', 6: 'attic' } as const
type NodeMachine = keyof typeof names
const nodes: readonly NodeMachine[] = [1, 2, 5, 6]
const pods = (machine: NodeMachine) => [`10.3${machine}.0.7`, `fd3${machine}::7`] as const
/** Both ends of a flow are probed this often. */
const intervalMs = 10
/** On a loaded machine everything takes longer; goals are printed beside what was measured. */
const patienceMs = 6_000

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const { start, run, status, end } = programsOn(here)
const stateOf = (machine: NodeMachine) => join(folder, names[machine])

function up(machine: NodeMachine, secret: string): Running {
  const advertise = ['--advertise', `10.3${machine}.0.0/24`, '--advertise', `fd3${machine}::/64`]
  const isPublic = machine === 1 || machine === 2
  const place = ['--endpoint', `10.77.0.${machine}:51820`, '--relay-tcp', '443']
  const endpoint = isPublic ? place : []
  const args = ['mesh', 'up', '--coordinator', 'https://10.77.0.1:7443', '--token', secret]
  const flags = ['--name', names[machine], '--state', stateOf(machine)]
  return start(machine, edge, [...args, ...flags, ...advertise, ...endpoint])
}

async function peer(machine: NodeMachine, of: NodeMachine): Promise<PeerStatus> {
  const { peers } = await status(machine, stateOf(machine))
  const found = peers.find(({ name }) => name === names[of])
  if (found === undefined) throw new Error(`${names[machine]} does not know ${names[of]}`)
  return found
}

async function awaitPath(machine: NodeMachine, of: NodeMachine, path: PeerStatus['path']) {
  const isSo = async () => (await peer(machine, of)).path === path
  await until(`${names[machine]} reaches ${names[of]} by ${path}`, isSo, 30_000)
}

const probes = new Map<NodeMachine, Probe>()
const nats = new Map<NodeMachine, Nat>()
const agents = new Map<NodeMachine, Running>()

async function ask(machine: NodeMachine, command: ProbeCommand): Promise<unknown> {
  return probes.get(machine)?.ask(command)
}

/** What happens to a flow while something else does; it lasts until there are answers again. */
async function flow(
  [from, to]: readonly [NodeMachine, NodeMachine],
  event: () => unknown,
): Promise<FlowResult> {
  await ask(from, { ask: 'ping', address: pods(to)[0], timeoutMs: 15_000 })
  await ask(from, { ask: 'begin', address: pods(to)[0], intervalMs })
  await sleep(1_500)
  await event()
  await sleep(patienceMs)
  return (await ask(from, { ask: 'end' })) as FlowResult
}

function report(what: string, goalMs: number, { gapMs, sent, lost }: FlowResult): void {
  const gap = `${Math.round(gapMs)} ms without an answer (goal ${goalMs})`
  console.log(`mesh-nat: ${what}: ${gap}, ${lost} of ${sent} lost`)
  expect(gapMs).toBeLessThan(patienceMs / 2)
}

const missing = missingForNat()
if (missing !== '')
  console.warn(`NOT RUN: the mesh behind NATs, because there is no ${missing} here`)
/** The story's next part. */
const story = test.runIf(missing === '')

beforeAll(() => {
  if (missing !== '') return
  const all = makeMachines(`edge-nat-${process.pid}`, 6)
  machines.all = all
  nats.set(5, hide(all, 3, 5))
  nats.set(6, hide(all, 4, 6))
  for (const machine of nodes) {
    for (const address of pods(machine)) all.ip(machine, 'address', 'add', address, 'dev', 'lo')
  }
}, 60_000)

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

story('nodes join from behind NATs', { timeout: 120_000 }, async () => {
  const listen = ['--listen', '10.77.0.1:7443', '--state', coordinatorState]
  expect(await ready(start(1, edge, ['mesh', 'coordinator', ...listen]))).toMatch(/^ready /)
  const ranges = ['--cidr', '10.0.0.0/8', '--cidr', 'fd00::/8']
  const flags = ['--state', coordinatorState, '--uses', '4', ...ranges]
  const { output } = await run(1, 'mesh', 'token', ...flags)
  for (const machine of nodes) agents.set(machine, up(machine, output.trim()))
  for (const agent of agents.values()) expect(await ready(agent)).toMatch(/^ready name=/)
})

story('any pod address reaches any other, over both families', { timeout: 180_000 }, async () => {
  for (const machine of nodes) {
    const probe = new Probe(start, machine, names[machine])
    await probe.begin()
    probes.set(machine, probe)
  }
  for (const from of nodes) {
    for (const to of nodes.filter((one) => one !== from)) {
      for (const address of pods(to)) {
        const took = await ask(from, { ask: 'ping', address, timeoutMs: 15_000 })
        expect(took, `${names[from]} → ${address}`).not.toBeNull()
      }
    }
  }
})

story(
  'who is reached directly is, and status says why another is not',
  { timeout: 90_000 },
  async () => {
    await ask(5, { ask: 'begin', address: pods(6)[0], intervalMs })
    await awaitPath(1, 5, 'direct')
    await awaitPath(5, 1, 'direct')
    await awaitPath(1, 2, 'direct')
    const { path, relay, whyNotDirect } = await peer(5, 6)
    await ask(5, { ask: 'end' })
    expect([path, ['hub', 'far'].includes(relay ?? '')]).toEqual(['relay', true])
    expect(whyNotDirect).toContain('a NAT or a firewall')
    const { endpoint } = await peer(1, 5)
    expect(endpoint).toMatch(/^10\.77\.0\.3:/)
    expect((await peer(1, 5)).relay).toBeNull()
  },
)

story('a NAT gets another address under a flow from outside', { timeout: 90_000 }, async () => {
  const direct = await flow([1, 5], () => nats.get(5)?.move('10.77.0.13'))
  report('NAT address changes, directly', 2_000, direct)
  expect((await peer(1, 5)).endpoint).toMatch(/^10\.77\.0\.13:/)
  const relayed = await flow([6, 5], () => nats.get(5)?.move('10.77.0.23'))
  report('NAT address changes, through a relay', 2_000, relayed)
})

story('keys change under a flow through a relay', { timeout: 120_000 }, async () => {
  const result = await flow([5, 6], async () => {
    // Of a node that is relayed, and of the relay.
    const { relay } = await peer(5, 6)
    for (const machine of [6, relay === 'hub' ? 1 : 2] as const) {
      expect((await run(machine, 'mesh', 'rotate', '--state', stateOf(machine))).code).toBe(0)
      const output = () => agents.get(machine)?.output() ?? ''
      await until('the key changed', () => output().includes('the next key is in use'), 60_000)
      await sleep(2_000)
    }
  })
  report('keys of a node and its relay change', 1_000, result)
  expect(result.lost).toBe(0)
})

story('a direct path is cut, and comes back', { timeout: 120_000 }, async () => {
  await awaitPath(5, 2, 'direct')
  const lost = await flow([5, 2], () => cut(here(), 2, ['10.77.0.23']))
  report('direct path cut', 1_000, lost)
  const { path, relay, whyNotDirect } = await peer(5, 2)
  expect([path, relay]).toEqual(['relay', 'hub'])
  expect(whyNotDirect).toMatch(/nothing comes back from 10\.77\.0\.2|has not answered a probe/)
  const back = await flow([5, 2], async () => {
    cut(here(), 2, [])
    await awaitPath(5, 2, 'direct')
  })
  report('direct path again', 1_000, back)
  expect(back.lost).toBe(0)
})

story('two behind NATs that keep ports find each other', { timeout: 120_000 }, async () => {
  for (const [machine, address] of [
    [5, '10.77.0.33'],
    [6, '10.77.0.34'],
  ] as const) {
    nats.get(machine)?.keep('kept')
    nats.get(machine)?.move(address)
  }
  const began = performance.now()
  await ask(5, { ask: 'ping', address: pods(6)[0], timeoutMs: 60_000 })
  await ask(5, { ask: 'begin', address: pods(6)[0], intervalMs })
  await awaitPath(5, 6, 'direct')
  await awaitPath(6, 5, 'direct')
  console.log(`mesh-nat: a hole through both NATs: ${Math.round(performance.now() - began)} ms`)
  const result = (await ask(5, { ask: 'end' })) as FlowResult
  expect(result.lost).toBe(0)
  expect((await peer(5, 6)).endpoint).toBe('10.77.0.34:51820')
})

story('where no UDP comes out, packets go to relays by TCP', { timeout: 120_000 }, async () => {
  closeUdp(here(), 3, true)
  const began = performance.now()
  for (const to of [1, 2, 6] as const) {
    for (const address of pods(to)) {
      const took = await ask(5, { ask: 'ping', address, timeoutMs: 30_000 })
      expect(took, `home → ${address}`).not.toBeNull()
    }
  }
  console.log(`mesh-nat: by TCP after UDP was closed: ${Math.round(performance.now() - began)} ms`)
  expect((await peer(5, 1)).endpoint).toBe('10.77.0.1:443/tcp')
  expect((await peer(1, 5)).endpoint).toMatch(/^10\.77\.0\.33:\d+\/tcp$/)
  expect((await peer(5, 6)).path).toBe('relay')
  // And from outside.
  const took = await ask(6, { ask: 'ping', address: pods(5)[1], timeoutMs: 30_000 })
  expect(took).not.toBeNull()
  closeUdp(here(), 3, false)
  const result = await flow([5, 6], () => undefined)
  expect(result.lost).toBe(0)
})

story('a relay ends, and the other one goes on', { timeout: 120_000 }, async () => {
  const at = ['10.77.0.33', '10.77.0.34'] as const
  // Neither NAT lets the other one's packets in any more.
  cut(here(), 3, [at[1]])
  cut(here(), 4, [at[0]])
  await ask(5, { ask: 'begin', address: pods(6)[0], intervalMs })
  await awaitPath(5, 6, 'relay')
  const { relay } = await peer(5, 6)
  await ask(5, { ask: 'end' })
  const machine = relay === 'hub' ? 1 : 2
  const result = await flow([5, 6], () => agents.get(machine)?.child.kill('SIGKILL'))
  report('the relay in use is killed', 1_000, result)
  expect((await peer(5, 6)).relay).toBe(relay === 'hub' ? 'far' : 'hub')
  for (const one of nodes.filter((node) => node !== machine)) {
    const agent = agents.get(one)
    if (agent !== undefined) expect(await stop(agent)).toBe(0)
  }
})
