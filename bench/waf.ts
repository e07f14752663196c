/**
 * What does inspecting a request cost, beside nginx with libmodsecurity3 and a Go proxy with
 * Coraza?
 *
 *   node bench/waf.ts [--workloads W1,W2,W3,W3b,W4] [--rounds 5] [--round-ms 400]
 *                     [--only edge,libmodsecurity3,…] [--json FILE]
 *
 * CPU time of the whole proxy for each request, with the same CRS files (EDGE_CRS_DIR, else
 * ../shared/crs) at paranoia level 1, blocking, request and response bodies inspected. Statuses
 * must be equal before anything is timed; rounds are interleaved and short, medians are reported,
 * and what counts is the ratio within one run: machines are shared, and absolute times lie.
 * Needs Go (load client and Coraza) and Debian's nginx and libnginx-mod-http-modsecurity.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { crsDirectory } from '../test/harness/edge.ts'
import { cpuMicroseconds, peerProgram, startWafField } from './waf-contenders.ts'
import type { WafContender } from './waf-contenders.ts'
import { workloads, type Workload } from './waf-requests.ts'

const everyone = [
  'libmodsecurity3',
  'coraza',
  'edge',
  'edge memo off',
  'edge PL4',
  'edge rules twice',
  'edge WAF off',
]

const { values } = parseArgs({
  options: {
    workloads: { type: 'string', default: 'W1,W2,W3,W3b,W4' },
    rounds: { type: 'string', default: '5' },
    'round-ms': { type: 'string', default: '400' },
    'warm-ms': { type: 'string', default: '1500' },
    only: { type: 'string', default: everyone.join(',') },
    protocols: { type: 'string', default: 'h1,h2,h3' },
    json: { type: 'string' },
  },
})

/** The edge may cost at most this part of each peer; of its own plain form for the variants. */
const goals: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  libmodsecurity3: { W1: 1 / 40, W2: 1 / 30, W3: 1 / 80, W3b: 1 / 10, W4: 1 / 40 },
  coraza: { W1: 1 / 38, W2: 1 / 64, W3: 1 / 170, W3b: 1 / 165, W4: 1 / 50 },
}
const variantGoals: Readonly<Record<string, number>> = { 'edge PL4': 1.3, 'edge rules twice': 1.2 }

type Protocol = 'h1' | 'h2' | 'h3'

/** One lane of the race: a contender over a protocol. */
interface Lane {
  readonly label: string
  readonly contender: WafContender
  readonly protocol: Protocol
  readonly url: string
  readonly costs: number[]
  /** Where in the list of requests the next round begins. */
  next: number
}

interface LoadReport {
  readonly statuses: Readonly<Record<string, number>>
  readonly errors: number
  readonly error: string
  /** Places of the requests that had another status. */
  readonly others: readonly number[] | null
}

/** A result line, for machines. */
interface Row {
  readonly workload: string
  readonly contender: string
  readonly microseconds: number
  readonly low: number
  readonly high: number
}

const directory = mkdtempSync(join(tmpdir(), 'edge-bench-requests-'))

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[numbers.length >> 1] ?? 0
}

/** Sends `count` of the requests in `file`; lists those with another status than `expected`. */
function load(lane: Lane, file: string, count: number, expected: number): LoadReport {
  const target = ['-protocol', lane.protocol, '-to', lane.url, '-requests', file]
  const amount = ['-count', String(count), '-first', String(lane.next)]
  const flags = ['load', ...target, ...amount, '-expect', String(expected)]
  const report: LoadReport = JSON.parse(execFileSync(program, flags, { encoding: 'utf8' }))
  if (report.errors > 0) throw new Error(`${lane.label}: ${JSON.stringify(report)}`)
  return report
}

/** What the contender answers the workload with: PL4 only scores, and without a WAF all passes. */
function statusOf(lane: Lane, workload: Workload): number {
  const passes = lane.contender.name === 'edge PL4' || lane.contender.name === 'edge WAF off'
  return passes ? 200 : workload.status
}

/** Sends `count` requests; the CPU time of one. Any other status than the expected is an error. */
function send(lane: Lane, workload: Workload, count: number): number {
  const before = cpuMicroseconds(lane.contender)
  const report = load(lane, fileOf(workload), count, statusOf(lane, workload))
  const used = cpuMicroseconds(lane.contender) - before
  lane.next += count
  if ((report.others?.length ?? 0) > 0)
    throw new Error(`${lane.label} on ${workload.name}: ${JSON.stringify(report)}`)
  return used / count
}

const fileOf = (workload: Workload): string => join(directory, `${workload.name}.jsonl`)

/**
 * Writes the requests down without those few whose words make a rule hit by accident. Who of the
 * peers disagrees about the rest ends the run.
 */
function write(workload: Workload, lane: Lane): void {
  const file = fileOf(workload)
  const lines = workload.requests.map((request) => `${JSON.stringify(request)}\n`)
  writeFileSync(file, lines.join(''))
  const { others } = load(lane, file, lines.length, statusOf(lane, workload))
  const odd = new Set(others)
  if (odd.size > lines.length / 20) throw new Error(`${odd.size} of ${workload.name} are odd`)
  if (odd.size > 0) console.log(`${workload.name}: ${odd.size} of ${lines.length} left out`)
  writeFileSync(file, lines.filter((_, index) => !odd.has(index)).join(''))
}

function race(workload: Workload, lanes: readonly Lane[]): Row[] {
  const judge = lanes.find((lane) => lane.label === 'edge') ?? lanes[0]
  if (judge === undefined) return []
  write(workload, judge)
  const lines = workload.requests.length
  // The first requests prove the statuses; the rest of the warm-up is for V8.
  const first = new Map(lanes.map((lane) => [lane, send(lane, workload, 16)]))
  const counts = new Map(
    lanes.map((lane) => {
      const slow = (first.get(lane) ?? 0) > 20_000
      const warm = slow
        ? 0
        : Math.ceil((Number(values['warm-ms']) * 1_000) / (first.get(lane) ?? 1))
      // V8 needs thousands of requests before it is at its best, whatever time they take.
      const ours = lane.contender.name.startsWith('edge') ? lines : 0
      const warmUp = Math.min(Math.max(warm, ours), 30_000)
      const cost = warm > 0 ? send(lane, workload, warmUp) : (first.get(lane) ?? 1)
      const count = Math.ceil((Number(values['round-ms']) * 1_000) / cost)
      return [lane, Math.min(20_000, Math.max(8, count))]
    }),
  )
  for (let round = 0; round < Number(values.rounds); round += 1)
    for (const lane of lanes) lane.costs.push(send(lane, workload, counts.get(lane) ?? 8))
  return lanes.map((lane) => ({
    workload: workload.name,
    contender: lane.label,
    microseconds: median(lane.costs),
    low: Math.min(...lane.costs),
    high: Math.max(...lane.costs),
  }))
}

function lanesOf(contenders: readonly WafContender[]): Lane[] {
  const wanted = new Set(values.protocols.split(','))
  return contenders.flatMap((contender) =>
    (['h1', 'h2', 'h3'] as const).flatMap((protocol): Lane[] => {
      const url = contender.at[protocol]
      // One lane over each protocol is enough: that of the edge as it is.
      const plain = protocol === 'h1' || contender.name === 'edge'
      if (url === undefined || !plain || !wanted.has(protocol)) return []
      const label = protocol === 'h1' ? contender.name : `${contender.name} ${protocol}`
      return [{ label, contender, protocol, url, costs: [], next: 0 }]
    }),
  )
}

function show(workload: Workload, rows: readonly Row[]): boolean {
  const ours = rows.find((row) => row.contender === 'edge')?.microseconds ?? 0
  let reached = true
  console.log(`\n${workload.name} (${workload.meaning})`)
  for (const { contender, microseconds, low, high } of rows) {
    const spread = `(${low.toFixed(0)}–${high.toFixed(0)})`
    const ratio = verdict(workload.name, contender, { ours, microseconds })
    reached &&= !ratio.includes('MISSED')
    const cost = `${microseconds.toFixed(1).padStart(10)} µs`
    console.log(`  ${contender.padEnd(18)} ${cost}  ${spread.padEnd(18)} ${ratio}`)
  }
  return reached
}

function verdict(
  workload: string,
  contender: string,
  { ours, microseconds }: { readonly ours: number; readonly microseconds: number },
): string {
  const goal = goals[contender]?.[workload]
  if (goal !== undefined) {
    const met = ours <= goal * microseconds
    const ratio = (microseconds / ours).toFixed(1)
    return `edge is 1/${ratio}  goal 1/${(1 / goal).toFixed(0)}  ${met ? 'ok' : 'MISSED'}`
  }
  const limit = variantGoals[contender]
  const times = microseconds / ours
  if (limit === undefined) return `${times.toFixed(2)}×`
  // Blocking ends an attack early, scoring does not: the two are no pair there.
  if (workload === 'W4' && contender === 'edge PL4') return `${times.toFixed(2)}×`
  return `${times.toFixed(2)}×  goal ${limit}×  ${times <= limit ? 'ok' : 'MISSED'}`
}

const crs = crsDirectory()
if (crs === null) {
  console.error('not run: no rules; set EDGE_CRS_DIR to a CRS folder')
  process.exit(1)
}
const program = peerProgram() ?? ''
if (program === '') {
  console.error('not run: install Go 1.26, for the load client')
  process.exit(1)
}
const field = await startWafField(values.only.split(','), crs)
try {
  for (const { name, mend } of field.missing) console.error(`${name} not run: ${mend}`)
  const names = new Set(values.workloads.split(','))
  const rows: Row[] = []
  let reached = field.missing.length === 0
  for (const workload of workloads().filter((one) => names.has(one.name))) {
    const result = race(workload, lanesOf(field.contenders))
    reached = show(workload, result) && reached
    rows.push(...result)
  }
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(rows, null, 2))
  if (!reached) process.exitCode = 3
} finally {
  field.stop()
  rmSync(directory, { recursive: true, force: true })
}
