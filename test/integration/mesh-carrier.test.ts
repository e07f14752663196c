/**
 * The mesh behind firewalls that know no WireGuard: two relays that take packets by HTTP/3, one by
 * TCP as well, and a node behind a firewall that changes. One story; times are printed.
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
import { fence, hide, missingForNat, type Nat } from '../harness/nat.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const edge = join(root, 'edge')
const machines: { all: Machines | null; nat: Nat | null } = { all: null, nat: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-carrier-'))
const coordinatorState = join(folder, 'coordinator')
/** By machine; the third has the firewall, and hides the fourth. */
const names = { 1: 'hub', 2: 'far', 4: 'home' } as const
type NodeMachine = keyof typeof names
const nodes: readonly NodeMachine[] = [1, 2, 4]
const pods = (machine: NodeMachine) => [`10.3${machine}.0.7`, `fd3${machine}::7`] as const
const intervalMs = 10
const outside = '10.77.0.3'

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const { start, run, status, end } = programsOn(here)
const stateOf = (machine: NodeMachine) => join(folder, names[machine])

function up(machine: NodeMachine, secret: string): Running {
  const advertise = ['--advertise', `10.3${machine}.0.0/24`, '--advertise', `fd3${machine}::/64`]
  const place = ['--endpoint', `10.77.0.${machine}:51820`, '--relay-h3', '443']
  const ways = { 1: [...place, '--relay-tcp', '443'], 2: place, 4: [] }[machine]
  const args = ['mesh', 'up', '--coordinator', 'https://10.77.0.1:7443', '--token', secret]
  const flags = ['--name', names[machine], '--state', stateOf(machine)]
  return start(machine, edge, [...args, ...flags, ...advertise, ...ways])
}

async function peer(machine: NodeMachine, of: NodeMachine): Promise<PeerStatus> {
  const { peers } = await status(machine, stateOf(machine))
  const found = peers.find(({ name }) => name === names[of])
  if (found === undefined) throw new Error(`${names[machine]} does not know ${names[of]}`)
  return found
}

async function awaitPlace(of: NodeMachine, place: string): Promise<void> {
  const isSo = async () => (await peer(4, of)).endpoint === place
  await until(`home reaches ${names[of]} at ${place}`, isSo, 40_000)
}

const probes = new Map<NodeMachine, Probe>()
const agents = new Map<NodeMachine, Running>()

async function ask(machine: NodeMachine, command: ProbeCommand): Promise<unknown> {
  return probes.get(machine)?.ask(command)
}

function said(what: string, began: number): void {
  console.log(`mesh-carrier: ${what}: ${Math.round(performance.now() - began)} ms`)
}

/** How long it takes until home has an answer of the other two. */
async function reaching(what: string): Promise<void> {
  const began = performance.now()
  for (const to of [1, 2] as const) {
    const took = await ask(4, { ask: 'ping', address: pods(to)[0], timeoutMs: 40_000 })
    expect(took, `home → ${names[to]}`).not.toBeNull()
  }
  said(what, began)
}

/** What happens to a flow from home to the hub, and how the hub sees it. */
async function flow(event: () => unknown): Promise<FlowResult> {
  await ask(4, { ask: 'begin', address: pods(1)[0], intervalMs })
  await sleep(1_500)
  await event()
  await sleep(3_000)
  return (await ask(4, { ask: 'end' })) as FlowResult
}

const missing = missingForNat()
if (missing !== '')
  console.warn(`NOT RUN: the mesh behind firewalls, because there is no ${missing} here`)
/** The story's next part. */
const story = test.runIf(missing === '')

beforeAll(() => {
  if (missing !== '') return
  const all = makeMachines(`edge-carry-${process.pid}`, 4)
  machines.all = all
  machines.nat = hide(all, 3, 4)
  fence(all, 3, 'quic')
  for (const machine of nodes) {
    for (const address of pods(machine)) all.ip(machine, 'address', 'add', address, 'dev', 'lo')
  }
}, 60_000)

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

story('a node that only QUIC comes out of joins', { timeout: 120_000 }, async () => {
  const listen = ['--listen', '10.77.0.1:7443', '--state', coordinatorState]
  expect(await ready(start(1, edge, ['mesh', 'coordinator', ...listen]))).toMatch(/^ready /)
  const ranges = ['--cidr', '10.0.0.0/8', '--cidr', 'fd00::/8']
  const flags = ['--state', coordinatorState, '--uses', '3', ...ranges]
  const { output } = await run(1, 'mesh', 'token', ...flags)
  for (const machine of nodes) agents.set(machine, up(machine, output.trim()))
  for (const agent of agents.values()) expect(await ready(agent)).toMatch(/^ready name=/)
  for (const machine of nodes) {
    const probe = new Probe(start, machine, names[machine])
    await probe.begin()
    probes.set(machine, probe)
  }
  await reaching('by HTTP/3 after the start')
  for (const to of [1, 2] as const) {
    // The first answers may have come through the other one.
    await awaitPlace(to, `10.77.0.${to}:443/h3`)
    const seen = async () => /^10\.77\.0\.3:\d+\/h3$/.test((await peer(to, 4)).endpoint ?? '')
    await until(`${names[to]} sees home where it is`, seen, 30_000)
  }
})

story('packets of every size pass, and none is lost', { timeout: 60_000 }, async () => {
  for (const to of [1, 2] as const) {
    for (const address of pods(to)) {
      const host = address.includes(':') ? `[${address}]` : address
      const answer = await ask(4, { ask: 'get', url: `http://${host}:8080/`, version: '1.1' })
      expect(answer, address).toMatchObject({ status: 200, bytes: 1_000_000 })
    }
  }
  const { sent, lost } = await flow(() => undefined)
  expect([sent > 100, lost]).toEqual([true, 0])
})

story('the NAT gets another address under a flow', { timeout: 60_000 }, async () => {
  const { gapMs, sent, lost } = await flow(() => machines.nat?.move('10.77.0.13'))
  console.log(`mesh-carrier: NAT moves: ${Math.round(gapMs)} ms silent, ${lost} of ${sent} lost`)
  expect(gapMs).toBeLessThan(2_000)
  expect((await peer(4, 1)).endpoint).toBe('10.77.0.1:443/h3')
  expect((await peer(1, 4)).endpoint).toMatch(/^10\.77\.0\.13:\d+\/h3$/)
  machines.nat?.move(outside)
})

story('where QUIC is shut out, TCP is left', { timeout: 120_000 }, async () => {
  const began = performance.now()
  fence(here(), 3, 'tls')
  await awaitPlace(1, '10.77.0.1:443/tcp')
  said('by TCP after QUIC was shut out', began)
  await reaching('by TCP, and to the other relay through that one')
  expect((await peer(4, 2)).path).toBe('relay')
  const { lost } = await flow(() => undefined)
  expect(lost).toBe(0)
})

story(
  'where nothing comes out, it is tried again until it does',
  { timeout: 120_000 },
  async () => {
    const began = performance.now()
    fence(here(), 3, 'shut')
    const output = () => agents.get(4)?.output() ?? ''
    const isOver = () => output().includes('reached by TCP no more')
    await until('TCP is given up', isOver, 30_000)
    said('TCP given up after nothing came out', began)
    const hasFailed = () => output().includes('neither by UDP nor in another way')
    await until('both ways failed', hasFailed, 60_000)
    fence(here(), 3, 'quic')
    await awaitPlace(1, '10.77.0.1:443/h3')
    await reaching('by HTTP/3 after nothing came out')
  },
)

story('a relay is killed and started again', { timeout: 120_000 }, async () => {
  await awaitPlace(2, '10.77.0.2:443/h3')
  agents.get(2)?.child.kill('SIGKILL')
  await agents.get(2)?.ended
  const again = up(2, '')
  agents.set(2, again)
  expect(await ready(again)).toMatch(/^ready name=/)
  await reaching('after a relay was started again')
  await awaitPlace(2, '10.77.0.2:443/h3')
})

story('a node that is taken out is carried no more', { timeout: 60_000 }, async () => {
  const flags = ['--state', coordinatorState]
  expect((await run(1, 'mesh', 'remove', 'home', ...flags)).code).toBe(0)
  for (const relay of [1, 2] as const) {
    const output = () => agents.get(relay)?.output() ?? ''
    await until('its carrier ends', () => output().includes('a node is carried no more'), 20_000)
  }
  for (const relay of [1, 2] as const) {
    const agent = agents.get(relay)
    if (agent !== undefined) expect(await stop(agent)).toBe(0)
  }
})
