/**
 * The mesh without any privilege: agents and a proxy as nobody with no capability, in namespaces of
 * one machine, beside a node that has an interface.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MeshStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import { type Transferred, transferPort } from '../harness/mesh-transfer.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import { programsOn, ready, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const edge = join(root, 'edge')
const transfer = join(root, 'test/harness/mesh-transfer.ts')
const nobody = 65_534
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-'))
const coordinatorState = join(folder, 'coordinator')
/** By machine: the first and the third have no privilege. */
const names = ['a', 'b', 'c'] as const

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const programs = programsOn(here)
const { start, run, end } = programs

/** As nobody, and with no capability, not even one to be had again. */
function startAsNobody(machine: number, args: readonly string[]): Running {
  const ids = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
  const none = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs']
  const home = `HOME=${homeOf(machine)}`
  return start(machine, 'setpriv', [...ids, ...none, 'env', home, edge, ...args])
}

function capabilitiesOf({ child }: Running): string {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  const line = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
  return [...['CapPrm', 'CapEff', 'CapBnd'].map(line), line('Uid').split('\t')[1]].join(' ')
}

const nothing = [...Array.from({ length: 3 }, () => '0'.repeat(16)), nobody].join(' ')

function homeOf(machine: number): string {
  return join(folder, names[machine - 1] ?? '')
}

function stateOf(machine: number): string {
  return join(homeOf(machine), 'state')
}

async function joining(machine: number): Promise<string[]> {
  const { code, output } = await run(1, 'mesh', 'token', '--state', coordinatorState)
  expect(code, output).toBe(0)
  return ['--token', output.trim()].concat(flagsOf(machine))
}

function flagsOf(machine: number): string[] {
  const name = names[machine - 1] ?? ''
  return ['--coordinator', 'https://10.77.0.1:7443', '--name', name, '--state', stateOf(machine)]
}

const status = (machine: number): Promise<MeshStatus> => programs.status(machine, stateOf(machine))

/** Sends and reads so many bytes from a machine; fails where either is not whole. */
async function move(machine: number, url: string, { version = '1.1', up = 10, down = 10 } = {}) {
  const words = ['ask', url, version, String(up), String(down)]
  const running = start(machine, process.execPath, [transfer, ...words])
  const code = await running.ended
  const said = [running, ...proxies].map(({ output }) => output().slice(-2_000)).join('\n')
  expect(code, said).toBe(0)
  return JSON.parse(running.output()) as Transferred
}

const whole = (node: string, bytes: number): Transferred => ({
  status: 200,
  node,
  isWhole: true,
  bytes,
  isRight: true,
})

let agents: Running[] = []
let proxies: Running[] = []
const addresses: string[][] = []
const proxyUrl = {
  b: 'https://10.77.0.1:8443/',
  c: 'https://10.77.0.1:8444/',
  /** A port of b that nobody listens on. */
  refused: 'https://10.77.0.1:8445/',
} as const

function startProxy(name: keyof typeof proxyUrl, port = transferPort): Running {
  const node = name === 'refused' ? 'b' : name
  const address = new URL(proxyUrl[name]).port
  const listen = ['--waf', 'off', '--http', 'off', '--https', `0.0.0.0:${address}`]
  const backend = ['--backend', `mesh://${node}:${port}`, '--mesh-state', stateOf(1)]
  return startAsNobody(1, ['run', ...listen, ...backend])
}

const missing = [
  missingForMachines(),
  ...(existsSync('/usr/bin/setpriv') ? [] : ['setpriv']),
].filter((one) => one !== '')
if (missing.length > 0) {
  console.warn(`NOT RUN: the mesh without privilege, because there is no ${missing.join(' and ')}`)
}
/** The story's next part. */
const story = test.runIf(missing.length === 0)

beforeAll(() => {
  if (missing.length > 0) return
  machines.all = makeMachines(`edge-ns-${process.pid}`, 3)
  chmodSync(folder, 0o755)
  for (const machine of [1, 2, 3]) {
    mkdirSync(homeOf(machine))
    if (machine !== 2) chownSync(homeOf(machine), nobody, nobody)
  }
})

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

story('agents of nobody without any capability are in the mesh', { timeout: 120_000 }, async () => {
  const coordinator = ['mesh', 'coordinator', '--listen', '[::]:7443', '--state', coordinatorState]
  expect(await ready(start(1, edge, coordinator))).toMatch(/^ready coordinator=https:/)
  const advertise = ['--advertise', '10.40.3.0/24']
  agents = [
    startAsNobody(1, ['mesh', 'up', '--mode', 'netstack', ...(await joining(1))]),
    start(2, edge, ['mesh', 'up', '--mode', 'tun', ...(await joining(2))]),
    // `auto` finds the way that is left.
    startAsNobody(3, ['mesh', 'up', ...advertise, ...(await joining(3))]),
  ]
  for (const agent of agents) {
    const line = await ready(agent)
    expect(line).toMatch(/^ready name=[abc] addresses=100\.96\.\S+,fd\S+ interface=(edge0|none)$/)
    addresses.push(/addresses=(\S+)/.exec(line)?.[1]?.split(',') ?? [])
  }
  const [one, , three] = agents
  for (const agent of [one, three]) expect(agent && capabilitiesOf(agent)).toBe(nothing)
  expect(three?.output()).toContain('no interface can be had')
  expect(() => here().ip(1, 'link', 'show', 'edge0')).toThrow()
  expect((await status(1)).self).toMatchObject({ mode: 'netstack', interface: 'none' })
  expect((await status(2)).self).toMatchObject({ mode: 'tun', interface: 'edge0' })
  for (const machine of [2, 3]) {
    const name = names[machine - 1] ?? ''
    const server = start(machine, process.execPath, [transfer, 'serve', name])
    expect(await ready(server)).toBe('ready')
  }
})

story(
  'a proxy of nobody serves backends on other nodes over h1, h2 and h3',
  { timeout: 120_000 },
  async () => {
    proxies = [startProxy('b'), startProxy('c')]
    for (const proxy of proxies) {
      expect(await ready(proxy)).toMatch(/^ready /)
      expect(capabilitiesOf(proxy)).toBe(nothing)
    }
    for (const node of ['b', 'c'] as const) {
      for (const version of ['1.1', '2']) {
        const got = await move(2, proxyUrl[node], { version, down: 1_000_000 })
        expect(got).toEqual(whole(node, 1_000_000))
      }
      const { output } = await run(2, 'health', '--h3', `${proxyUrl[node]}1000`)
      expect(output).toContain('HTTP/3 200')
    }
    expect((await status(1)).peers.map(({ path }) => path)).toEqual(['direct', 'direct'])
  },
)

story('much goes both ways at once and arrives as it was', { timeout: 300_000 }, async () => {
  // The proxy takes 10 MiB of a body by default.
  const much = { up: 10_000_000, down: 40_000_000 }
  // From no interface to an interface, and between two without one.
  for (const node of ['b', 'c'] as const) {
    for (const version of ['1.1', '2']) {
      expect(await move(2, proxyUrl[node], { version, ...much })).toEqual(whole(node, much.down))
    }
  }
})

story(
  'others reach a node without an interface, and a range behind it',
  { timeout: 120_000 },
  async () => {
    here().ip(3, 'address', 'add', '10.40.3.7/32', 'dev', 'lo')
    const [own = '', own6 = ''] = addresses[2] ?? []
    const much = { up: 40_000_000, down: 30_000_000 }
    for (const host of [own, `[${own6}]`, '10.40.3.7']) {
      const url = `http://${host}:${transferPort}/`
      expect(await move(2, url, much)).toEqual(whole('c', much.down))
    }
    await expect(move(2, `http://${own}:1/`)).rejects.toThrow('ECONNREFUSED')
  },
)

story('what fails there fails as elsewhere, and passes', { timeout: 240_000 }, async () => {
  const refused = startProxy('refused', 1)
  expect(await ready(refused)).toMatch(/^ready /)
  expect(await move(2, proxyUrl.refused)).toMatchObject({ status: 502 })
  expect(await stop(refused)).toBe(0)

  const [first] = agents
  if (first !== undefined) expect(await stop(first)).toBe(0)
  expect(await move(2, proxyUrl.b)).toMatchObject({ status: 502 })
  agents[0] = startAsNobody(1, ['mesh', 'up', '--mode', 'netstack', ...flagsOf(1)])
  await ready(agents[0])
  const isBack = async () => (await move(2, proxyUrl.b)).status === 200
  await until('the backend is reached again', isBack, 60_000)
})

story('a stranger does not dial through an agent', { timeout: 60_000 }, async () => {
  const path = join(stateOf(1), 'dial.sock')
  const socket = `require('net').connect(${JSON.stringify(path)})`
  const code = `${socket}.on('error', (error) => console.log(error.code))`
  const ids = ['--reuid=12345', '--regid=12345', '--clear-groups']
  const stranger = start(1, 'setpriv', [...ids, process.execPath, '-e', code])
  await stranger.ended
  expect(stranger.output()).toContain('EACCES')
})

story('agents end in order', { timeout: 60_000 }, async () => {
  for (const running of [...proxies, ...agents]) expect(await stop(running)).toBe(0)
})
