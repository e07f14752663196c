/**
 * What does an agent hold, and what does a change cost it? `edge mesh up` in a mesh of 3, 1,000 and
 * 10,000 nodes beside a real coordinator, and once more from what it has on disk; beside it a Node
 * that does nothing. Then the way of a change in TypeScript alone: table → topology → difference.
 *
 *   node scripts/pinned.mjs bench/mesh-agent.ts [NODES,NODES…]
 *
 * Needs root, /dev/net/tun and `ip`. The other nodes are names in the coordinator's table: nobody
 * is there. Of what is resident, RssAnon is the program's own; RssFile is what it used of Node's
 * and the addon's code in the last ten seconds, which is there once for all programs: the largest
 * of three looks. Goals at 10,000: 80 MB, and 20 ms when nothing is to be done (bench/mesh.ts has
 * the device's part).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openState } from '../mesh/coordinator/state.ts'
import type { Entry, MeshNetworks } from '../mesh/entry.ts'
import { idOf, signRecord } from '../mesh/identity.ts'
import { NodeTable } from '../mesh/node-table.ts'
import { type Applied, nothingApplied, reconcile } from '../mesh/reconcile.ts'
import { topology } from '../mesh/topology.ts'
import { viewOf } from '../mesh/view.ts'
import { root } from '../test/harness/edge.ts'
import { type Machines, makeMachines } from '../test/harness/namespaces.ts'
import { until } from '../test/harness/wait.ts'

const sizes = (process.argv[2] ?? '3,1000,10000').split(',').map(Number)
/** Until the collector and the allocator gave back what a change took (proxy/memory.ts). */
const settleMs = 30_000
/** The code that it runs is forgotten now and then: looks at different times after that. */
const looksTaken = 3
const lookMs = 3_000
const changesTried = 9
const edge = join(root, 'edge')

/** A coordinator's table with so many nodes, and a token for one more. */
interface Filled {
  readonly token: string
  readonly entries: readonly Entry[]
  readonly networks: MeshNetworks
}

async function fill(folder: string, nodes: number): Promise<Filled> {
  const { registry, pin } = await openState(folder)
  const nowMs = Date.now()
  const order = { pin, labels: {}, cidrs: [], nowMs, expiresAtMs: nowMs + 3_600_000 }
  const token = registry.createToken({ ...order, uses: nodes + 1 })
  for (let number = 0; number < nodes; number += 1) {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const raw = publicKey.export({ format: 'jwk' }).x ?? ''
    const identity = Buffer.from(raw, 'base64url').toString('base64')
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const place = `198.18.${number >> 8}.${number & 255}`
    const record = {
      name: `edge-node-${number}`,
      key: randomBytes(32).toString('base64'),
      port: 51_820,
      endpoint: number % 2 === 0 ? `${place}:51820` : null,
      candidates: [`10.77.${number >> 8}.${number & 255}:51820`],
      advertise: [`10.${number >> 8}.${number & 255}.0/24`],
      serial: nowMs,
    }
    const none = { certificate: '', wireguard: { privateKey: '', publicKey: '' } }
    const signed = signRecord({ id: idOf(identity), identity, key, ...none }, record)
    registry.join({ identity, signed, record, observed: place }, token, nowMs)
  }
  const filled = { token, entries: registry.entries('all'), networks: registry.networks }
  registry.close()
  return filled
}

/** The way of a change through the agent, without its device; milliseconds. */
function reckon({ entries, networks }: Filled): string {
  const table = new NodeTable()
  const self = entries[0]?.id ?? ''
  const place = { self, networks, outside: [], isBehindNat: false, knowsRelays: true }
  const snapshot = { version: 1, hash: '', nodes: [...entries] }
  let view = viewOf(snapshot)
  let applied: Applied = nothingApplied
  const turn = (): { ms: number; steps: number } => {
    const began = performance.now()
    const desired = topology(table.of(view), place)
    const delta = reconcile(applied, desired)
    applied = desired
    const { peers = [], removePeers = [] } = delta ?? {}
    return { ms: performance.now() - began, steps: peers.length + removePeers.length }
  }
  const first = turn()
  const again = Array.from({ length: changesTried }, turn)
  const changes = Array.from({ length: changesTried }, (_, number) => {
    const gone = entries[number + 1]?.id ?? ''
    const left = new Map(view.entries)
    left.delete(gone)
    view = { ...view, entries: left }
    return turn()
  })
  const middle = (all: readonly { ms: number }[]): string => {
    const sorted = all.map(({ ms }) => ms).toSorted((one, other) => one - other)
    return `${sorted[sorted.length >> 1]?.toFixed(1)} ms`
  }
  const isRight =
    first.steps === entries.length - 1 &&
    again.every(({ steps }) => steps === 0) &&
    changes.every(({ steps }) => steps === 1)
  if (!isRight) throw new Error('wrong steps')
  const turns = `planned again ${middle(again)}, one goes ${middle(changes)}`
  const began = performance.now()
  if (reconcile(applied, applied) !== null) throw new Error('a step too many')
  const nothing = `no-op ${(performance.now() - began).toFixed(2)} ms`
  return `first ${first.ms.toFixed(0)} ms, ${turns}, ${nothing}`
}

/** The same nodes in a hundred locations, each with two leaders: what each kind of them plans. */
function reckonLocated({ entries, networks }: Filled): string {
  const count = 100
  const nodes = new NodeTable().of(viewOf({ version: 1, hash: '', nodes: [...entries] }))
  const located = nodes.map((node, number) => {
    const location = `location-${number % count}`
    return number < count * 2 ? { ...node, location, isLeader: true } : { ...node, location }
  })
  const told = [count, count * 2].map((at) => {
    const place = { self: located[at]?.id ?? '', networks, outside: [], isBehindNat: false }
    const times = Array.from({ length: changesTried }, () => {
      const began = performance.now()
      const { size } = topology(located, place).peers
      return { ms: performance.now() - began, size }
    }).toSorted((one, other) => one.ms - other.ms)
    const { ms = 0, size = 0 } = times[times.length >> 1] ?? {}
    return `${at < count * 2 ? 'a leader' : 'another one'} ${size} peers, ${ms.toFixed(1)} ms`
  })
  return `in ${count} locations: ${told.join('; ')}`
}

async function memoryOf(pid: number | undefined): Promise<string> {
  const looks: Readonly<Record<string, number>>[] = []
  for (let look = 0; look < looksTaken; look += 1) {
    if (look > 0) await sleep(lookMs)
    const text = readFileSync(`/proc/${pid}/status`, 'latin1')
    const sizes = ['VmRSS', 'RssAnon', 'RssFile', 'VmHWM'].map((name) => {
      const kilobytes = Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1])
      return [name, kilobytes / 1024] as const
    })
    looks.push(Object.fromEntries(sizes))
  }
  const largest = looks.toSorted((one, other) => Number(other['VmRSS']) - Number(one['VmRSS']))[0]
  return Object.entries(largest ?? {})
    .map(([name, size]) => `${name} ${size.toFixed(0)} MB`)
    .join(', ')
}

async function readyOf(child: ChildProcess): Promise<void> {
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (output += text))
  await until('it is ready', () => /^ready/m.test(output) || child.exitCode !== null, 120_000)
  if (child.exitCode !== null) throw new Error(output)
}

async function stopped(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM')
  if (child.exitCode === null) await once(child, 'exit')
}

async function agentAmong(machines: Machines, nodes: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-agent-'))
  const running: ChildProcess[] = []
  const [coordinator, state] = [join(folder, 'coordinator'), join(folder, 'agent')]
  try {
    const filled = await fill(coordinator, nodes - 1)
    if (nodes >= changesTried * 2) {
      console.log(`${nodes} nodes, in TypeScript: ${reckon(filled)}`)
      console.log(reckonLocated(filled))
    }
    const server = ['coordinator', '--listen', '10.77.0.1:7443', '--state', coordinator]
    const serving = machines.spawn(1, edge, ['mesh', ...server])
    running.push(serving)
    await readyOf(serving)
    for (const given of [['--token', filled.token], []]) {
      const place = ['--coordinator', 'https://10.77.0.1:7443', '--name', 'self', '--state', state]
      const agent = machines.spawn(2, edge, ['mesh', 'up', '--mode', 'tun', ...place, ...given])
      running.push(agent)
      await readyOf(agent)
      await sleep(settleMs)
      const from = given.length === 0 ? 'from disk' : 'from the coordinator'
      console.log(`${nodes} nodes, ${from}: ${await memoryOf(agent.pid)}`)
      await stopped(agent)
    }
  } finally {
    for (const child of running) await stopped(child)
    rmSync(folder, { recursive: true })
  }
}

const idle = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'])
await sleep(1_000)
console.log(`a Node that does nothing: ${await memoryOf(idle.pid)}`)
await stopped(idle)
const machines = makeMachines(`bench-agent-${process.pid}`, 2)
try {
  for (const nodes of sizes) await agentAmong(machines, nodes)
} finally {
  machines.remove()
}
