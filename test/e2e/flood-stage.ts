/** The stage of the flood tests: one edge before one recording backend, and the budgets. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startBackend } from '../harness/backend.ts'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { goClients, runGo, startGo, startGoBackend } from '../harness/go.ts'
import { ordinaryConnections, weigh, type Benign, type Ordinary, type Span } from './latency.ts'

/** What one volley of a flood came to; see test/clients/go/frames.go. */
interface Volley extends Span {
  readonly flood: string
  readonly connections: number
  readonly cut: number
  readonly framesMax: number
  readonly ends: Record<string, number>
  readonly cpuMs: number
}

/** What became of a flood, and of the ordinary requests meanwhile. */
interface FloodReport extends Pick<Volley, 'flood' | 'connections' | 'cut' | 'framesMax' | 'ends'> {
  readonly volleys: number
  /** How long a volley lasted, on average. */
  readonly volleyMs: number
  /** Of the volley that cost most. */
  readonly cpuMs: number
  /** Requests of the flood that reached a backend. */
  readonly upstream: number
  readonly benign: Benign
}

/** What the edge held for the bytes on the wire. */
export interface BombReport {
  readonly kind: string
  readonly connections: number
  readonly wireBytes: number
  readonly growthBytes: number
  readonly ratio: number
  readonly perConnection: number
  readonly ends: Record<string, number>
}

/** How large a flood is. */
interface FloodSize {
  readonly connections: number
  readonly count: number
  /** Quiet time before each volley. */
  readonly aloneMs: number
  readonly volleys?: number
  /** As many volleys in between, at another edge that ordinary requests have nothing to do with. */
  readonly elsewhere?: boolean
}

/** Every flood of the client, by name. */
export const floods = [
  'rapid-reset',
  'made-you-reset-window-zero',
  'made-you-reset-window-overflow',
  'made-you-reset-data',
  'made-you-reset-headers',
  'made-you-reset-priority-length',
  'made-you-reset-priority-self',
  'continuation',
  'continuation-empty',
  'settings',
  'ping',
  'priority',
  'empty-data',
  'window-update',
  'window-update-stream',
] as const

/** Streams that a client may have reset before it is cut, and that may reach a backend. */
const streamsMax = 250
const framesMax = 1_000
const cpuMsPerConnectionMax = 100

/** Where a report breaks its budget (but for time, see `floodDelay`); empty: nowhere. */
export function floodBudget(report: FloodReport): string[] {
  const { flood, connections, volleys, benign } = report
  const allowed = /reset/.test(flood) ? streamsMax : framesMax
  const all = connections * volleys
  const broken: [boolean, string][] = [
    [report.cut < all, `${all - report.cut} connections were not cut`],
    [report.framesMax > allowed, `${report.framesMax} frames before the cut, not ${allowed}`],
    [report.upstream > streamsMax * all, `${report.upstream} requests went upstream`],
    [report.cpuMs > cpuMsPerConnectionMax * connections, `${report.cpuMs} ms of CPU`],
    [benign.failed.length > 0, `ordinary requests failed: ${benign.failed.join(', ')}`],
    [benign.cut > 0, `${benign.cut} ordinary connections were closed`],
    [benign.beside.requests === 0, 'no ordinary request'],
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, text]) => `${flood}: ${text}`)
}

/**
 * How a flood slowed down ordinary requests; empty: not. The goal is a p99 below twice that beside
 * a flood elsewhere, or below twice the quiet one. `slackMs` more are no harm: one slow turn of a
 * busy machine.
 */
export function floodDelay({ flood, benign }: FloodReport, slackMs = 100): string[] {
  const { alone, beside, elsewhere } = benign
  const isElsewhere = elsewhere.requests > 0
  const usualMs = (isElsewhere ? elsewhere : alone).p99Ms
  if (beside.p99Ms < Math.max(2 * usualMs, usualMs + slackMs)) return []
  const usual = isElsewhere ? 'beside one elsewhere' : 'alone'
  return [`${flood}: p99 ${beside.p99Ms} ms beside it, ${usualMs} ms ${usual}`]
}

/** Growth that is noise of the program's own heaps, whatever the wire carried. */
const noiseBytes = 2 * 1024 * 1024

/** Where the bomb breaks its budget; empty: nowhere. */
export function bombBudget(report: BombReport): string[] {
  const growth = Math.max(0, report.growthBytes - noiseBytes)
  const broken: [boolean, string][] = [
    [growth > 10 * report.wireBytes, `ratio ${report.ratio.toFixed(1)}:1`],
    [growth > report.connections * 1024 * 1024, `${report.perConnection} bytes a connection`],
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, text]) => `${report.kind}: ${text}`)
}

/** What a connection whose HPACK table is churned may cost: TLS and all else included. */
export const tableBytesMax = 64 * 1024
/**
 * Many connections and few requests, each of which fills a table: whole connections are measured,
 * and hardly the garbage of exchanges. (With thousands of requests the heap of V8 grows by as much
 * for fields that enter no table.)
 */
export const tableSize = ['-connections', '200', '-active', '2', '-streams', '3'] as const

function sum(flood: string, volleys: readonly Volley[]) {
  const ends: Record<string, number> = {}
  for (const volley of volleys) {
    for (const [end, times] of Object.entries(volley.ends)) ends[end] = (ends[end] ?? 0) + times
  }
  const lasted = volleys.reduce((total, { floodMs, endMs }) => total + endMs - floodMs, 0)
  return {
    flood,
    connections: volleys[0]?.connections ?? 0,
    volleys: volleys.length,
    cut: volleys.reduce((total, { cut }) => total + cut, 0),
    volleyMs: Math.round(lasted / volleys.length),
    framesMax: Math.max(...volleys.map(({ framesMax: frames }) => frames)),
    cpuMs: Math.max(...volleys.map(({ cpuMs }) => cpuMs)),
    ends,
  }
}

/**
 * Runs a client at the lowest priority: an attacker has a processor of its own, and what ours
 * spends must not be taken for harm that the edge did.
 */
async function runMeekly<Result>(args: readonly string[]): Promise<Result> {
  const options = { timeout: 120_000, killSignal: 'SIGKILL' } as const
  const { stdout } = await promisify(execFile)('nice', ['-n', '19', goClients(), ...args], options)
  return JSON.parse(stdout) as Result
}

/** A running stage. */
export interface FloodStage {
  readonly address: string
  /** Where its `/metrics` are. */
  readonly statusPort: number
  flood(name: string, size: FloodSize): Promise<FloodReport>
  bomb(kind: string, more?: readonly string[]): Promise<BombReport>
  /** Ends all; returns the exit code of the edge. */
  stop(): Promise<number | null>
}

/** Starts the edge before a backend that counts and, for all other paths, one that is fast. */
export async function startFloodStage(): Promise<FloodStage> {
  const recorder = await startBackend()
  const backend = await startGoBackend(['backend'])
  const routes = [
    { name: 'flood', path: '/flood', upstream: 'recorder' },
    { name: 'all', path: '/', upstream: 'default' },
  ]
  // Ordinary connections must outlive all volleys, and a flood is not to be cut by its requests.
  const limits = { requestsPerConnectionMax: 1_000_000 }
  const upstreams = [
    { name: 'recorder', endpoints: [{ url: recorder.url }] },
    { name: 'default', endpoints: [{ url: `http://${backend.address}` }] },
  ]
  const directory = mkdtempSync(join(tmpdir(), 'edge-floods-'))
  const config = join(directory, 'edge.yaml')
  writeFileSync(config, JSON.stringify({ routes, upstreams, limits, log: { access: false } }))
  const start = () => startEdge({ arguments: ['--config', config, '--waf', 'off'] })
  const edge = await start()
  let other: RunningEdge | null = null
  const address = `127.0.0.1:${edge.httpsPort}`
  const targetOf = ({ httpsPort, process }: RunningEdge) => {
    const [https, pid] = [`127.0.0.1:${httpsPort}`, String(process.pid)]
    return ['-https', https, '-pid', pid]
  }
  const target = targetOf(edge)
  return {
    address,
    statusPort: edge.statusPort,
    flood: async (name, { connections, count, aloneMs, volleys = 1, elsewhere = false }) => {
      recorder.seen.length = 0
      const size = ['-connections', `${connections}`, '-count', `${count}`]
      const args = ['frames', '-flood', name, '-alone', `${aloneMs}ms`, ...size]
      if (elsewhere) other ??= await start()
      const decoy = elsewhere ? other : null
      const calm = ['ordinary', '-https', address, '-connections', `${ordinaryConnections}`]
      const ordinary = startGo<Ordinary>(calm, 600_000)
      try {
        // Its first word is that it is ready; without one its result says why.
        const word = ordinary.process.stderr
        if (word) await Promise.race([once(word, 'data'), ordinary.result])
        const shots: Volley[] = []
        const others: Volley[] = []
        // One by one, each behind a quiet time: all see the same state of the machine.
        while (shots.length < volleys) {
          // oxlint-disable no-await-in-loop
          shots.push(await runMeekly<Volley>([...args, ...target]))
          if (decoy) others.push(await runMeekly<Volley>([...args, ...targetOf(decoy)]))
          // oxlint-enable no-await-in-loop
        }
        const benign = weigh(await ordinary.finish(), shots, others)
        return { ...sum(name, shots), upstream: recorder.seen.length, benign }
      } finally {
        ordinary.process.kill('SIGKILL')
      }
    },
    bomb: (kind, more = []) => runGo<BombReport>(['bomb', '-kind', kind, ...target, ...more]),
    stop: async () => {
      const code = await edge.stop()
      await other?.stop()
      await backend.stop()
      recorder.close()
      rmSync(directory, { recursive: true, force: true })
      return code
    },
  }
}
