/**
 * A node whose default route goes through another one: a table and rules of its own, beside the
 * machine's, among real programs and packets.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { meshLimits } from '../../mesh/limits.ts'
import type { MeshStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-default-'))
const coordinatorState = join(folder, 'coordinator')
/** Addresses that only the first machine has, and nobody has a route to. */
const elsewhere = ['203.0.113.9', '2001:db8:9::9'] as const
/** The first machine's, too: the second one reaches it by the default route that it had before. */
const outside = '198.51.100.1'
const edge = join(root, 'edge')

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const { start, run, end } = programsOn(here)

async function up(machine: number, ...flags: readonly string[]): Promise<Running> {
  const { output } = await run(1, 'mesh', 'token', '--state', coordinatorState)
  const name = `node-${machine}`
  const where = ['--coordinator', 'https://10.77.0.1:7443', '--token', output.trim()]
  const own = ['--name', name, '--state', join(folder, name), '--mode', 'tun', ...flags]
  const agent = start(machine, edge, ['mesh', 'up', ...where, ...own])
  expect(await ready(agent)).toMatch(/^ready /)
  return agent
}

const rules = (): string => `${here().ip(2, 'rule')}${here().ip(2, '-6', 'rule')}`
const table = (): string => {
  const of = (...family: readonly string[]): string =>
    here().ip(2, ...family, 'route', 'show', 'table', 'all')
  return `${of('-4')}${of('-6')}`
}

const missing = missingForMachines()
if (missing !== '') console.warn(`NOT RUN: default routes, because there is no ${missing} here`)
const story = test.runIf(missing === '')
let before = ''
let own = ''
let probe: Probe
let agent: Running

beforeAll(async () => {
  if (missing !== '') return
  machines.all = makeMachines(`edge-default-${process.pid}`, 3)
  for (const address of [...elsewhere, outside]) {
    here().ip(
      1,
      'address',
      'add',
      address,
      'dev',
      'lo',
      ...(address.includes(':') ? ['nodad'] : []),
    )
  }
  // Of the machine, and of somebody else.
  here().ip(2, 'route', 'add', 'default', 'via', '10.77.0.3')
  here().ip(3, 'route', 'add', outside, 'via', '10.77.0.1')
  await start(3, 'sysctl', ['-w', 'net.ipv4.ip_forward=1']).ended
  here().ip(2, 'rule', 'add', 'priority', '100', 'fwmark', '7', 'lookup', '99')
  here().ip(2, 'route', 'add', '192.0.2.0/24', 'via', '10.77.0.254', 'table', '99')
  const flags = ['mesh', 'coordinator', '--listen', '[::]:7443', '--state', coordinatorState]
  await ready(start(1, edge, flags))
  await up(1, '--endpoint', `${outside}:51820`, '--advertise', '0.0.0.0/0', '--advertise', '::/0')
  const there = new Probe(start, 1, 'there')
  probe = new Probe(start, 2, 'here')
  await Promise.all([there.begin(), probe.begin()])
  before = rules()
  own = here().ip(2, 'route', 'show')
}, 120_000)

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

const ping = (address: string, timeoutMs = 15_000): Promise<unknown> =>
  probe.ask({ ask: 'ping', address, timeoutMs })

story('a node that does not ask for it has none', { timeout: 120_000 }, async () => {
  agent = await up(2)
  expect(rules()).toBe(before)
  expect(await ping(elsewhere[0], 500)).toBeNull()
  expect(await stop(agent)).toBe(0)
})

story('all that no route leads to goes through the node', { timeout: 120_000 }, async () => {
  agent = await up(2, '--default-route', 'node-1')
  for (const address of elsewhere) expect(await ping(address), address).not.toBeNull()
  expect(here().ip(2, 'route', 'get', elsewhere[0])).toContain('dev edge0')
  // The machine's own routes go first, and the coordinator stays outside.
  expect(here().ip(2, 'route', 'get', '10.77.0.99')).toContain('dev eth0')
  // As do the packets to the peer itself, by the route that everything took before.
  const marked = here().ip(2, 'route', 'get', outside, 'mark', String(meshLimits.packetMark))
  expect(marked).toContain('dev eth0')
  expect(here().ip(2, 'route', 'get', outside)).toContain('dev edge0')
  expect(rules()).toMatch(/from all to 10\.77\.0\.1 lookup main/)
  expect(here().ip(2, 'route', 'show')).toContain(own.trim())
})

story('one that is killed leaves nothing that is in the way', { timeout: 120_000 }, async () => {
  agent.child.kill('SIGKILL')
  await agent.ended
  await until('its interface is gone', () => !here().ip(2, 'link').includes('edge0'))
  expect(here().ip(2, 'route', 'get', elsewhere[0])).toContain('via 10.77.0.3')
  agent = await up(2, '--default-route', 'node-1')
  expect(await ping(elsewhere[0])).not.toBeNull()
})

story('at its end its rules go, and no others', { timeout: 120_000 }, async () => {
  expect(await stop(agent)).toBe(0)
  expect(rules()).toBe(before)
  expect(table()).toContain('192.0.2.0/24 via 10.77.0.254 dev eth0 table 99')
  expect(table()).not.toContain('table 237')
  expect(here().ip(2, 'route', 'show')).toBe(own)
})

story('a node that offers none is told of', { timeout: 120_000 }, async () => {
  agent = await up(2, '--default-route', 'nobody')
  const flags = ['--json', '--state', join(folder, 'node-2')]
  const { output } = await run(2, 'mesh', 'status', ...flags)
  expect((JSON.parse(output) as MeshStatus).conflicts).toEqual([
    { node: 'nobody', prefix: '0.0.0.0/0', reason: 'no node of this name offers a default route' },
  ])
  expect(rules()).toBe(before)
})
