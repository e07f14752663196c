/**
 * What does the mesh's tunnel cost beside wireguard-go? One TCP stream between two namespaces (MTU
 * 1420), ours and theirs in turn within the same minutes; then a flow of one packet in 5 ms while
 * 1,000 peers come and go; then 10,000 peers in one device.
 *
 *   npm run bench:mesh [ROUNDS]
 *
 * Needs root, /dev/net/tun, `ip`, Go for wireguard-go, and apt-get for wg and iperf3. Goals: at
 * least 1.15 times its rate at no more than 0.8 of its CPU seconds for each GiB; nothing lost and
 * no packet later than 10 ms; apply in 1.5 s, one delta in 5 ms, 80 MB.
 */
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../test/harness/edge.ts'
import type { StepAnswer } from '../test/harness/mesh-device.ts'
import { type Machines, makeMachines } from '../test/harness/namespaces.ts'
import { until } from '../test/harness/wait.ts'
import { benchFolder, debianPrograms } from './mesh/debian.ts'

const streams = Number(process.argv[2] ?? 3)
const seconds = 6
const changesMs = 4_000
const ticksPerSecond = 100
const gibibyte = 2 ** 30
const { wg, iperf } = debianPrograms()
const [iperfProgram = '', ...iperfArgs] = iperf
const folder = mkdtempSync(join(tmpdir(), 'bench-mesh-'))
const addresses = ['100.64.0.1', '100.64.0.2'] as const

/** The newest one, by Go's modules. */
function wireguardGo(): string {
  const program = join(benchFolder, 'wireguard')
  if (!existsSync(program)) {
    const env = { ...process.env, GOBIN: benchFolder }
    execFileSync('go', ['install', 'golang.zx2c4.com/wireguard@latest'], { env, stdio: 'inherit' })
  }
  return program
}

const keys = [1, 2].map((number) => {
  const privateKey = Buffer.alloc(32, number).toString('base64')
  const told = spawnSync(wg, ['pubkey'], { input: `${privateKey}\n`, encoding: 'utf8' })
  return { privateKey, publicKey: told.stdout.trim() }
})

/** A running end of a tunnel. */
interface End {
  readonly child: ChildProcess
  /** Adds to what is there. */
  add(peers: readonly Peer[]): Promise<number>
  /** Brings it to these peers, or away from them: by a delta of ours, or by `wg syncconf`. */
  change(peers: readonly Peer[], kind: 'set' | 'remove'): Promise<number>
  stats(): Promise<number>
}

interface Peer {
  readonly publicKey: string
  readonly allowedIps: readonly string[]
  readonly endpoint: string
}

function peers(count: number): Peer[] {
  return Array.from({ length: count }, (_, number) => {
    const bytes = Buffer.alloc(32, 9)
    bytes.writeUInt32BE(number)
    const [high, low] = [number >> 8, number & 255]
    return {
      publicKey: bytes.toString('base64'),
      allowedIps: [`10.64.${high}.${low}/32`, `fd01::${number.toString(16)}/128`],
      endpoint: `192.0.2.${low}:51820`,
    }
  })
}

function other(place: number): Peer {
  const [peer, address] = [keys[1 - place], addresses[1 - place]]
  return {
    publicKey: peer?.publicKey ?? '',
    allowedIps: [`${address}/32`],
    endpoint: `10.77.0.${2 - place}:51820`,
  }
}

async function ours(machines: Machines, place: number): Promise<End> {
  const privateKey = keys[place]?.privateKey
  const options = { interface: 'edge0', port: 51_820, mtu: 1420, privateKey }
  const args = [join(root, 'test/harness/mesh-device.ts'), JSON.stringify(options)]
  const child = machines.spawn(place + 1, process.execPath, args)
  child.stderr?.pipe(process.stderr)
  if (child.stdout === null) throw new Error('no output')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  await lines.next()
  const ask = async (line: string): Promise<number> => {
    child.stdin?.write(`${line}\n`)
    return (JSON.parse(String((await lines.next()).value)) as StepAnswer).ms
  }
  const nothing = { addAddresses: [], peers: [], removePeers: [], removeRoutes: [] }
  const route = `${addresses[1 - place]}/32`
  const address = [`${addresses[place]}/32`]
  const first = { ...nothing, addAddresses: address, peers: [other(place)], addRoutes: [route] }
  await ask(JSON.stringify({ ...first, removeAddresses: [] }))
  const empty = { ...nothing, addRoutes: [], removeAddresses: [] }
  return {
    child,
    add: (all) => ask(JSON.stringify({ ...empty, peers: all })),
    change: (all, kind) => {
      const removed = all.map(({ publicKey }) => publicKey)
      const delta = kind === 'set' ? { peers: all } : { removePeers: removed }
      return ask(JSON.stringify({ ...empty, ...delta }))
    },
    stats: () => ask('stats'),
  }
}

async function theirs(machines: Machines, place: number): Promise<End> {
  const name = `wg${place}`
  const socket = `/var/run/wireguard/${name}.sock`
  rmSync(socket, { force: true })
  const child = machines.spawn(place + 1, wireguardGo(), ['-f', name])
  await until('wireguard-go listens', () => existsSync(socket))
  const file = join(folder, name)
  const set = async (command: string, all: readonly Peer[]): Promise<number> => {
    const begin = `[Interface]\nPrivateKey=${keys[place]?.privateKey}\nListenPort=51820\n`
    const text = all.map(
      ({ publicKey, allowedIps, endpoint }) =>
        `[Peer]\nPublicKey=${publicKey}\nEndpoint=${endpoint}\n` +
        `AllowedIPs=${allowedIps.join(',')}\n`,
    )
    writeFileSync(file, begin + text.join(''), { mode: 0o600 })
    const began = performance.now()
    await once(machines.spawn(place + 1, wg, [command, name, file]), 'close')
    return performance.now() - began
  }
  await set('setconf', [other(place)])
  machines.ip(place + 1, 'link', 'set', name, 'up', 'mtu', '1420')
  machines.ip(place + 1, 'address', 'add', `${addresses[place]}/24`, 'dev', name)
  return {
    child,
    add: (all) => set('addconf', all),
    change: (all, kind) =>
      set('syncconf', kind === 'set' ? [other(place), ...all] : [other(place)]),
    stats: async () => {
      const began = performance.now()
      const dump = machines.spawn(place + 1, wg, ['show', name, 'dump'])
      dump.stdout?.resume()
      await once(dump, 'close')
      return performance.now() - began
    },
  }
}

function cpuSeconds({ child }: End): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

function megabytes({ child }: End): number {
  const text = readFileSync(`/proc/${child.pid}/status`, 'latin1')
  return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) / 1024
}

type Kind = typeof ours
type Found = Readonly<Record<string, number>>
type Work = (machines: Machines, ends: readonly End[]) => Promise<Found>

/** Two ends in their namespaces for as long as `work` takes. */
async function between(kind: Kind, work: Work): Promise<Found> {
  const machines = makeMachines(`bench-mesh-${process.pid}`, 2)
  const ends: End[] = []
  try {
    for (const place of [0, 1]) ends.push(await kind(machines, place))
    return await work(machines, ends)
  } finally {
    for (const { child } of ends) child.kill('SIGKILL')
    await Promise.all(ends.map(async ({ child }) => child.exitCode ?? (await once(child, 'exit'))))
    machines.remove()
  }
}

async function stream(machines: Machines, ends: readonly End[]) {
  const server = machines.spawn(2, iperfProgram, [...iperfArgs, '-s', '-1'])
  await sleep(500)
  const before = ends.map(cpuSeconds)
  const args = [...iperfArgs, '-c', addresses[1], '-t', `${seconds}`, '-J']
  const client = machines.spawn(1, iperfProgram, args)
  let text = ''
  client.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  await once(client, 'close')
  server.kill('SIGKILL')
  const { end } = JSON.parse(text) as { end: { sum_received: { bytes: number; seconds: number } } }
  const { bytes, seconds: took } = end.sum_received
  const cpu = ends.reduce((sum, one, at) => sum + cpuSeconds(one) - (before[at] ?? 0), 0)
  return {
    gigabits: (bytes * 8) / took / 1e9,
    cpuPerGibibyte: cpu / (bytes / gibibyte),
    megabytes: Math.max(...ends.map(megabytes)),
  }
}

/** A probe of test/harness on each machine; asks the first. */
async function probe(machines: Machines) {
  const file = join(root, 'test/harness/mesh-probe.ts')
  const [one, two] = [1, 2].map((machine) => machines.spawn(machine, process.execPath, [file, '']))
  if (one?.stdout == null || two?.stdout == null) throw new Error('no output')
  const lines = createInterface({ input: one.stdout })[Symbol.asyncIterator]()
  await lines.next()
  await once(two.stdout, 'data')
  return {
    ask: async (command: object): Promise<unknown> => {
      one.stdin?.write(`${JSON.stringify(command)}\n`)
      return JSON.parse(String((await lines.next()).value))
    },
    end: () => [one, two].map((child) => child.kill('SIGKILL')),
  }
}

async function changes(machines: Machines, ends: readonly End[]) {
  const { ask, end } = await probe(machines)
  const [address] = addresses.slice(1)
  await ask({ ask: 'ping', address, timeoutMs: 20_000 })
  await ask({ ask: 'begin', address, intervalMs: 5 })
  const thousand = peers(1_000)
  await sleep(1_000)
  const quiet = (await ask({ ask: 'end' })) as { worstMs: number }
  await ask({ ask: 'begin', address, intervalMs: 5 })
  const began = performance.now()
  let rounds = 0
  for (; rounds < 3 || performance.now() - began < changesMs; rounds += 1) {
    for (const one of ends) await one.change(thousand, 'set')
    for (const one of ends) await one.change(thousand, 'remove')
  }
  for (let round = 0; round < 50; round += 1) {
    for (const kind of ['set', 'remove'] as const) await ends[0]?.change(peers(1), kind)
  }
  await sleep(500)
  const flow = (await ask({ ask: 'end' })) as { sent: number; lost: number; worstMs: number }
  end()
  return { ...flow, worstWithoutMs: quiet.worstMs, rounds }
}

async function many(_: Machines, ends: readonly End[]) {
  const [end] = ends
  if (end === undefined) throw new Error('no end')
  const all = peers(10_000)
  const applyMs = await end.change(all, 'set')
  const [again, statsMs] = [await end.change(all, 'set'), await end.stats()]
  const deltaMs = await end.add(peers(10_001).slice(-1))
  const held = megabytes(end)
  const removeMs = await end.change(all, 'remove')
  return { applyMs, sameAgainMs: again, deltaMs, statsMs, removeMs, megabytes: held }
}

const shown = (found: Found): string =>
  Object.entries(found)
    .map(([name, value]) => `${name} ${value.toFixed(value < 10 ? 2 : 0)}`)
    .join(', ')

const kinds = { ours, 'wireguard-go': theirs } as const
const works: Readonly<Record<string, Work>> = { stream, changes, 'many peers': many }
try {
  for (const [question, work] of Object.entries(works)) {
    for (let round = 0; round < (question === 'stream' ? streams : 1); round += 1) {
      for (const [name, kind] of Object.entries(kinds)) {
        const found = await between(kind, work)
        const load = loadavg()[0]?.toFixed(1)
        console.log(`${question}: ${name}: ${shown(found)} (load ${load})`)
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
