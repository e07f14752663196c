/** A real coordinator and a fleet of agents beside it, and what they do together. */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { root } from '../harness/edge.ts'
import { until } from '../harness/wait.ts'
import { clockMs, type FleetCounts, type FleetOrder } from './mesh-fleet-orders.ts'

/** How large, and of what shape. */
export interface FleetOptions {
  readonly agents: number
  /** `star`: most are leaves, which hear of the hubs only; `full`: everybody hears of everybody. */
  readonly shape: 'star' | 'full'
  readonly processes: number
  /** Changes of one hub, one after the other. */
  readonly changes: number
  /** How long one in a hundred agents changes per minute. */
  readonly churnMs: number
  /** What the whole may take: a loaded machine needs more. */
  readonly patienceMs: number
}

/** Times of all agents together, in milliseconds. */
export interface Spread {
  readonly p50: number
  readonly p99: number
  readonly most: number
}

/** What was measured. */
export interface FleetResult {
  readonly joinMs: number
  readonly followMs: number
  /** Of each change. */
  readonly changes: readonly Spread[]
  /** Whole tables that agents were sent after their first one, at any time. */
  readonly tablesLater: number
  readonly deltaBytes: number
  readonly churn: { readonly changes: number; readonly bytes: number; readonly cores: number }
  readonly idleCores: number
  readonly resumed: Spread
  readonly resumedBytes: number
  readonly rssMb: number
  readonly rssMostMb: number
}

/** The hubs of a star: the rest hears of these. */
const hubs = 20

/** The children that run agents. */
class FleetProcess {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #orders = 0

  constructor() {
    const file = join(root, 'test/e2e/mesh-fleet-clients.ts')
    this.#child = fork(file, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (message: { number: number; answer?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(message.number)
      this.#waiting.delete(message.number)
      if (message.error === undefined) waiting?.resolve(message.answer)
      else waiting?.reject(new Error(message.error))
    })
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`agents ended: ${code}`))
    })
  }

  async ask<T>(order: FleetOrder): Promise<T> {
    const waiting = Promise.withResolvers<unknown>()
    this.#waiting.set((this.#orders += 1), waiting)
    this.#child.send({ number: this.#orders, order })
    return (await waiting.promise) as T
  }

  stop(): void {
    this.#child.disconnect()
  }
}

/** The coordinator's program. */
class Coordinator {
  readonly #folder: string
  #child: ChildProcess | null = null
  url = ''
  readonly #dispatcher = new Agent({ connect: { rejectUnauthorized: false } })

  constructor(folder: string) {
    this.#folder = folder
  }

  async start(): Promise<void> {
    const place = this.url === '' ? '127.0.0.1:0' : new URL(this.url).host
    const args = ['coordinator', '--listen', place, '--state', this.#folder]
    this.#child = edgeMesh(args)
    let output = ''
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
    this.#child.stderr?.resume()
    await until('the coordinator is ready', () => /^ready .*$/m.test(output), 60_000)
    this.url = /coordinator=(\S+)/.exec(output)?.[1] ?? ''
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async metrics(): Promise<ReadonlyMap<string, number>> {
    const key = readFileSync(join(this.#folder, 'admin-key'), 'utf8')
    const headers = { authorization: `Bearer ${key}`, connection: 'close' }
    const answer = await request(`${this.url}/metrics`, { dispatcher: this.#dispatcher, headers })
    const lines = (await answer.body.text()).split('\n').filter((line) => /^\w/.test(line))
    return new Map(lines.map((line) => [line.replace(/ \S+$/, ''), Number(line.split(' ').at(-1))]))
  }

  /** Resident memory in MiB: now, and the most it ever was. */
  memory(): { now: number; most: number } {
    const text = readFileSync(`/proc/${this.#child?.pid}/status`, 'utf8')
    const mb = (name: string): number =>
      Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1]) / 1024
    return { now: mb('VmRSS'), most: mb('VmHWM') }
  }

  async close(): Promise<void> {
    await this.kill('SIGTERM')
    await this.#dispatcher.close()
  }
}

function edgeMesh(args: readonly string[]): ChildProcess {
  const main = join(root, 'proxy/main.ts')
  // As `edge` starts it.
  const flags = ['--max-semi-space-size=8', main, 'mesh', ...args]
  return spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'pipe'] })
}

async function outputOf(args: readonly string[]): Promise<string> {
  const child = edgeMesh(args)
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  await new Promise((resolve) => child.once('close', resolve))
  return output.trim()
}

/** Runs everything, and says what it does by `tell`. */
export async function runFleet(
  options: FleetOptions,
  tell: (line: string) => void,
): Promise<FleetResult> {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-fleet-'))
  const coordinator = new Coordinator(folder)
  const processes = Array.from({ length: options.processes }, () => new FleetProcess())
  try {
    return await new Fleet(options, { coordinator, processes, folder, tell }).run()
  } finally {
    for (const one of processes) one.stop()
    await coordinator.close()
    rmSync(folder, { recursive: true })
  }
}

interface FleetParts {
  readonly coordinator: Coordinator
  readonly processes: readonly FleetProcess[]
  readonly folder: string
  readonly tell: (line: string) => void
}

class Fleet {
  readonly #options: FleetOptions
  readonly #parts: FleetParts
  /** Agents of each process; the first ones of the first process are the hubs. */
  readonly #each: number
  #ports = 1_000

  constructor(options: FleetOptions, parts: FleetParts) {
    this.#options = options
    this.#parts = parts
    this.#each = Math.ceil(options.agents / options.processes)
  }

  async run(): Promise<FleetResult> {
    const { coordinator, processes, tell } = this.#parts
    const { agents, shape } = this.#options
    await coordinator.start()
    tell(`${agents} agents, ${shape}, in ${processes.length} processes; making their keys`)
    await Promise.all(
      processes.map((one, at) => one.ask({ do: 'keys', count: this.#each, prefix: `n${at}-` })),
    )
    const joinMs = await this.#timed('joined', () => this.#join())
    const followMs = await this.#timed('all follow', () => this.#follow())
    const tables = (await this.#counts()).tables
    await this.#quiet()
    const before = await coordinator.metrics()
    const changes: Spread[] = []
    for (let change = 0; change < this.#options.changes; change += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one change at a time is the point
      changes.push(await this.#change())
    }
    const after = await coordinator.metrics()
    tell(`changes: ${changes.map(({ p50, p99 }) => `p50 ${p50} p99 ${p99}`).join(', ')} ms`)
    tell('idle begins')
    const idleCores = await this.#cores(Math.min(30_000, this.#options.churnMs))
    const churn = await this.#churn()
    const memory = coordinator.memory()
    const resumed = await this.#restart()
    const last = await coordinator.metrics()
    return {
      joinMs,
      followMs,
      changes,
      tablesLater: (await this.#counts()).tables - tables,
      deltaBytes: bytesOf(after) - bytesOf(before),
      churn,
      idleCores,
      resumed,
      resumedBytes: bytesOf(last),
      rssMb: memory.now,
      rssMostMb: Math.max(memory.most, coordinator.memory().most),
    }
  }

  async #timed(what: string, work: () => Promise<void>): Promise<number> {
    const began = clockMs()
    await work()
    const took = Math.round(clockMs() - began)
    const { now } = this.#parts.coordinator.memory()
    this.#parts.tell(`${what} after ${took} ms; the coordinator has ${Math.round(now)} MB`)
    return took
  }

  async #join(): Promise<void> {
    const { processes, coordinator, folder } = this.#parts
    const { url } = coordinator
    const token = (...flags: readonly string[]): Promise<string> =>
      outputOf(['token', '--state', folder, '--uses', `${this.#options.agents + 100}`, ...flags])
    const hubToken = await token()
    const leafToken = this.#isStar ? await token('--label', 'role=leaf') : hubToken
    const first = Math.min(hubs, this.#each)
    const order = { do: 'join', url, isFollowing: this.#isStar } as const
    await processes[0]?.ask({ ...order, token: hubToken, from: 0, to: first })
    await Promise.all(
      processes.map((one, at) => {
        const from = at === 0 ? first : 0
        return one.ask({ ...order, token: leafToken, from, to: this.#each })
      }),
    )
  }

  async #follow(): Promise<void> {
    if (this.#isStar) return // each did when it had joined
    // All to all is too much for a first table of everybody: they begin with one that was kept.
    await Promise.all(this.#parts.processes.map((one) => one.ask({ do: 'follow' })))
  }

  get #isStar(): boolean {
    return this.#options.shape === 'star'
  }

  /** One hub says something new: when everybody has it. */
  async #change(): Promise<Spread> {
    const { processes } = this.#parts
    const [first] = processes
    if (first === undefined) throw new Error('there are no agents')
    const port = (this.#ports += 1)
    const { id } = await first.ask<{ id: string }>({ do: 'change', number: 0, port: 9 })
    await this.#quiet()
    const order = { do: 'await', id, port, timeoutMs: this.#options.patienceMs } as const
    const awaited = processes.map((one) => one.ask<number[]>(order))
    const { sentAtMs } = await first.ask<{ sentAtMs: number }>({ do: 'change', number: 0, port })
    const times = (await Promise.all(awaited)).flat().map((at) => at - sentAtMs)
    return spreadOf(times)
  }

  /** Agents change and come again at the pace of one in a hundred a minute. */
  async #churn(): Promise<FleetResult['churn']> {
    const { processes, coordinator } = this.#parts
    const { agents, churnMs } = this.#options
    const count = Math.max(2, Math.round(((agents / 100) * churnMs) / 60_000))
    const before = await coordinator.metrics()
    const began = clockMs()
    for (let at = 0; at < count; at += 1) {
      const one = processes[at % processes.length]
      const number = this.#each - 1 - (at % Math.max(1, this.#each - hubs))
      // oxlint-disable-next-line no-await-in-loop -- at their pace
      if (at % 2 === 0) await one?.ask({ do: 'change', number, port: (this.#ports += 1) })
      // oxlint-disable-next-line no-await-in-loop
      else await one?.ask({ do: 'reconnect', number })
      // oxlint-disable-next-line no-await-in-loop
      await sleep(Math.max(0, began + ((at + 1) * churnMs) / count - clockMs()))
    }
    const after = await coordinator.metrics()
    const cores = ((cpuOf(after) - cpuOf(before)) * 1000) / (clockMs() - began)
    return { changes: count, bytes: bytesOf(after) - bytesOf(before), cores }
  }

  async #cores(ms: number): Promise<number> {
    const before = cpuOf(await this.#parts.coordinator.metrics())
    const began = clockMs()
    await sleep(ms)
    const after = cpuOf(await this.#parts.coordinator.metrics())
    return ((after - before) * 1000) / (clockMs() - began)
  }

  /** The coordinator is killed and comes again: when each agent is connected again. */
  async #restart(): Promise<Spread> {
    const { coordinator, processes, tell } = this.#parts
    const sinceMs = clockMs()
    await coordinator.kill('SIGKILL')
    await coordinator.start()
    tell(`killed and ready again after ${Math.round(clockMs() - sinceMs)} ms`)
    const readyAtMs = clockMs()
    const order = { do: 'resumed', sinceMs, timeoutMs: this.#options.patienceMs } as const
    const times = await Promise.all(processes.map((one) => one.ask<number[]>(order)))
    return spreadOf(times.flat().map((at) => at - readyAtMs))
  }

  /** Until agents have said what they had to say. */
  async #quiet(): Promise<void> {
    let before = -1
    const look = async (): Promise<boolean> => {
      const { deltas, connected } = await this.#counts()
      const isQuiet = deltas === before && connected >= this.#options.agents
      before = deltas
      if (!isQuiet) await sleep(200)
      return isQuiet
    }
    await until('the fleet is quiet', look, this.#options.patienceMs)
  }

  async #counts(): Promise<FleetCounts> {
    const asked = this.#parts.processes.map((one) => one.ask<FleetCounts>({ do: 'counts' }))
    const all = await Promise.all(asked)
    const sum = (of: (one: FleetCounts) => number): number => all.reduce((n, one) => n + of(one), 0)
    return {
      connected: sum(({ connected }) => connected),
      tables: sum(({ tables }) => tables),
      deltas: sum(({ deltas }) => deltas),
      failures: sum(({ failures }) => failures),
    }
  }
}

function spreadOf(times: readonly number[]): Spread {
  const sorted = times.toSorted((one, other) => one - other)
  const at = (part: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0)
  return { p50: at(0.5), p99: at(0.99), most: at(1) }
}

function bytesOf(metrics: ReadonlyMap<string, number>): number {
  const of = (kind: string): number =>
    metrics.get(`edge_mesh_event_bytes_total{kind="${kind}"}`) ?? 0
  return of('delta') + of('snapshot')
}

function cpuOf(metrics: ReadonlyMap<string, number>): number {
  return metrics.get('process_cpu_seconds_total') ?? 0
}
