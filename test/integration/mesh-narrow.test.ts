/**
 * A way between two nodes that is narrower than either of them knows, behind routers that say
 * nothing about it: packets as large as the interface lets them be arrive all the same.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root } from '../harness/edge.ts'
import { bodyBytes, probePorts } from '../harness/mesh-probe.ts'
import { type Machines, makeMachines } from '../harness/namespaces.ts'
import { missingForNat } from '../harness/nat.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running } from '../harness/programs.ts'

const edge = join(root, 'edge')
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-narrow-'))
/** What an interface of 1,420 bytes takes whole, behind the headers of IPv4 and UDP. */
const datagramBytesMax = 1_420 - 20 - 8
const coordinatorState = join(folder, 'coordinator')

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const { start, run, end } = programsOn(here)

/** As many routers are: they keep to themselves that a packet was too large, and lower what TCP
 * takes, as far as they see TCP. */
const mute = `table inet mute {
  chain outgoing { type filter hook output priority 0; meta l4proto { icmp, ipv6-icmp } drop; }
  chain passing {
    type filter hook forward priority 0; tcp flags syn tcp option maxseg size set rt mtu;
  }
}`

/** The first machine, behind the second one, which reaches the third one by a narrow link; behind
 * that the fourth one. */
function lay(): void {
  const { names } = here()
  const ip: Machines['ip'] = (...args) => here().ip(...args)
  const link = (one: number, other: number, mtu: string): void => {
    const peer = ['peer', 'name', `to${one}`, 'netns', names[other - 1] ?? '', 'mtu', mtu]
    ip(one, 'link', 'add', `to${other}`, 'mtu', mtu, 'type', 'veth', ...peer)
    for (const [machine, to, last] of [
      [one, other, 1],
      [other, one, 2],
    ] as const) {
      ip(machine, 'address', 'add', `10.${one}${other}.0.${last}/24`, 'dev', `to${to}`)
      ip(machine, 'link', 'set', `to${to}`, 'up')
    }
  }
  for (const machine of [1, 2, 3, 4]) ip(machine, 'link', 'delete', 'eth0')
  link(1, 2, '1500')
  link(2, 3, '1400')
  link(3, 4, '1500')
  ip(1, 'route', 'add', 'default', 'via', '10.12.0.2')
  ip(2, 'route', 'add', 'default', 'via', '10.23.0.2')
  ip(3, 'route', 'add', 'default', 'via', '10.23.0.1')
  ip(4, 'route', 'add', 'default', 'via', '10.34.0.1')
  for (const router of [2, 3]) {
    on(router, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
    on(router, ['nft', '-f', '-'], mute)
  }
}

function on(machine: number, command: readonly string[], input = ''): void {
  const name = here().names[machine - 1] ?? ''
  execFileSync('ip', ['netns', 'exec', name, ...command], { input, stdio: 'pipe' })
}

async function up(machine: number, endpoint: string): Promise<string> {
  const { output } = await run(1, 'mesh', 'token', '--state', coordinatorState)
  const name = `node-${machine}`
  const where = ['--coordinator', 'https://10.12.0.1:7443', '--token', output.trim()]
  const own = ['--name', name, '--state', join(folder, name), '--mode', 'tun']
  const flags = ['mesh', 'up', ...where, ...own, '--endpoint', endpoint]
  const agent: Running = start(machine, edge, flags)
  return /addresses=([\d.]+)/.exec(await ready(agent))?.[1] ?? ''
}

const missing = missingForNat()
if (missing !== '') console.warn(`NOT RUN: narrow ways, because there is no ${missing} here`)
const story = test.runIf(missing === '')

beforeAll(async () => {
  if (missing !== '') return
  machines.all = makeMachines(`edge-narrow-${process.pid}`, 4)
  lay()
  const listen = ['--listen', '10.12.0.1:7443', '--state', coordinatorState]
  await ready(start(1, edge, ['mesh', 'coordinator', ...listen]))
}, 60_000)

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true })
}, 60_000)

story(
  'large datagrams and a megabyte cross a narrow link that nobody tells of',
  async () => {
    await up(1, '10.12.0.1:51820')
    const far = await up(4, '10.34.0.2:51820')
    const [asking, asked] = [new Probe(start, 1, 'one'), new Probe(start, 4, 'four')]
    await Promise.all([asking.begin(), asked.begin()])
    const whole = { status: 200, node: 'four', bytes: bodyBytes }
    const ping = { ask: 'ping', address: far, timeoutMs: 20_000 } as const
    expect(await asking.ask(ping)).toEqual(expect.any(Number))
    const large = { ...ping, bytes: datagramBytesMax, timeoutMs: 5_000 }
    expect(await asking.ask(large)).toEqual(expect.any(Number))
    const url = `http://${far}:${probePorts.http}/`
    expect(await asking.ask({ ask: 'get', url, version: '1.1' })).toMatchObject(whole)
  },
  60_000,
)
