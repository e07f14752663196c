/** The stage of the flood tests: one edge before one recording backend, and the budgets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'
import { runGo, startGoBackend } from '../harness/go.ts'

interface Benign {
  readonly requests: number
  readonly failed: readonly string[]
  readonly p99Ms: number
}

interface FloodReport {
  readonly flood: string
  readonly connections: number
  readonly cut: number
  readonly framesMax: number
  readonly ends: Record<string, number>
  readonly cpuMs: number
  readonly alone: Benign
  readonly beside: Benign
  /** Requests of the flood that reached a backend. */
  readonly upstream: number
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
  readonly aloneMs: number
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
  const { flood, connections, beside } = report
  const allowed = /reset/.test(flood) ? streamsMax : framesMax
  const broken: [boolean, string][] = [
    [report.cut < connections, `${connections - report.cut} connections were not cut`],
    [report.framesMax > allowed, `${report.framesMax} frames before the cut, not ${allowed}`],
    [report.upstream > streamsMax * connections, `${report.upstream} requests went upstream`],
    [report.cpuMs > cpuMsPerConnectionMax * connections, `${report.cpuMs} ms of CPU`],
    [beside.failed.length > 0, `ordinary requests failed: ${beside.failed.join(', ')}`],
    [beside.requests === 0, 'no ordinary request'],
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, text]) => `${flood}: ${text}`)
}

/**
 * How a flood slowed down ordinary requests; empty: not. One slow turn of a busy machine is no
 * harm: twice the quiet p99, or 100 ms more are allowed.
 */
export function floodDelay({ flood, alone, beside }: FloodReport): string[] {
  if (beside.p99Ms <= Math.max(2 * alone.p99Ms, alone.p99Ms + 100)) return []
  return [`${flood}: p99 ${beside.p99Ms} ms beside it, ${alone.p99Ms} ms alone`]
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

/** A running stage. */
export interface FloodStage {
  readonly address: string
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
  const upstreams = [
    { name: 'recorder', endpoints: [{ url: recorder.url }] },
    { name: 'default', endpoints: [{ url: `http://${backend.address}` }] },
  ]
  const directory = mkdtempSync(join(tmpdir(), 'edge-floods-'))
  const config = join(directory, 'edge.yaml')
  writeFileSync(config, JSON.stringify({ routes, upstreams, log: { access: false } }))
  const edge = await startEdge({ arguments: ['--config', config, '--waf', 'off'] })
  const address = `127.0.0.1:${edge.httpsPort}`
  const target = ['-https', address, '-pid', String(edge.process.pid)]
  return {
    address,
    flood: async (name, { connections, count, aloneMs }) => {
      const before = recorder.seen.length
      const size = ['-connections', String(connections), '-count', String(count)]
      const args = ['frames', '-flood', name, '-alone', `${aloneMs}ms`, ...target, ...size]
      const report = await runGo<Omit<FloodReport, 'upstream'>>(args)
      return { ...report, upstream: recorder.seen.length - before }
    },
    bomb: (kind, more = []) => runGo<BombReport>(['bomb', '-kind', kind, ...target, ...more]),
    stop: async () => {
      const code = await edge.stop()
      await backend.stop()
      recorder.close()
      rmSync(directory, { recursive: true, force: true })
      return code
    },
  }
}
