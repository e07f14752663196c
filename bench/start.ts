/**
 * From exec to ready: wall time and CPU time of `edge run` with the CRS, cold (no cache) and warm.
 * Goals: warm at most 1 s, cold at most 5 s. CPU time is what a busy machine still tells.
 *
 *   node scripts/pinned.mjs bench/start.ts [ROUNDS]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { crsDirectory, root } from '../test/harness/edge.ts'

const rounds = Number(process.argv[2] ?? 5)
const goals = { cold: 5, warm: 1 } as const
const ticksPerSecond = 100

interface Start {
  readonly wallSeconds: number
  readonly cpuSeconds: number
}

async function start(rules: string, level: number, folder: string): Promise<Start> {
  const flags = ['--http', '127.0.0.1:0', '--https', '127.0.0.1:0', '--workers', '2']
  flags.push('--wire-threads', '2', '--rules', rules, '--paranoia', `${level}`)
  const begun = performance.now()
  const child = spawn(join(root, 'edge'), ['run', ...flags], {
    env: { ...process.env, XDG_STATE_HOME: folder, XDG_CACHE_HOME: folder, NODE_COMPILE_CACHE: '' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let text = ''
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    text += chunk
    if (text.includes('ready http=')) break
  }
  const wallSeconds = (performance.now() - begun) / 1_000
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  // What the first start keeps for the next one is written after it is ready.
  await sleep(2_500)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
  return { wallSeconds, cpuSeconds }
}

const median = (values: readonly number[]): number =>
  values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? NaN

async function main(): Promise<void> {
  const rules = crsDirectory()
  if (rules === null) {
    console.error('NOT RUN: no rule set at EDGE_CRS_DIR or ../shared/crs')
    process.exitCode = 1
    return
  }
  for (const level of [1, 4]) {
    const found = { cold: [] as Start[], warm: [] as Start[] }
    for (let round = 0; round < rounds; round += 1) {
      const folder = mkdtempSync(join(tmpdir(), 'edge-start-'))
      try {
        for (const kind of ['cold', 'warm'] as const) {
          // oxlint-disable-next-line no-await-in-loop -- one start at a time
          found[kind].push(await start(rules, level, folder))
        }
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
    for (const [kind, starts] of Object.entries(found)) {
      const wall = starts.map((one) => one.wallSeconds)
      const cpu = starts.map((one) => one.cpuSeconds)
      const goal = kind === 'cold' ? goals.cold : goals.warm
      const verdict = median(wall) <= goal ? 'reached' : 'MISSED '
      const range = `${Math.min(...wall).toFixed(2)}–${Math.max(...wall).toFixed(2)}`
      console.log(
        `${verdict} PL${level} ${kind}: wall ${median(wall).toFixed(2)} s (${range}), ` +
          `CPU ${median(cpu).toFixed(2)} s, goal ${goal} s`,
      )
    }
  }
}

await main()
