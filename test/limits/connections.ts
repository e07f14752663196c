/**
 * `npm run e2e:connections -- [--slow 2000] [--idle 20000] [--sample 4000] [--hold 8]`: slow
 * headers are cut in time, and idle TLS connections are held, while benign requests go on. Prints
 * the memory for each idle connection and the processor time that idling costs.
 *
 * `--guest` holds the idle ones in a Linux of its own (test/guest), for machines whose limit of
 * descriptors is too low. All is emulated there: memory is true, times are not, so the other stages
 * run only when their numbers are given. `--patience 10` makes every time-out that much longer.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { runGuest } from '../guest/guest.ts'
import { parseGuest } from '../guest/options.ts'
import { startBackend } from '../harness/backend.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { goClients } from '../harness/go.ts'
import { benign, hold, processorMs, residentKib, type HoldKind } from './hold-stage.ts'

const { values } = parseArgs({
  options: {
    slow: { type: 'string' },
    idle: { type: 'string', default: '20000' },
    sample: { type: 'string' },
    // An idle connection changes its wait once, after five seconds: not before that.
    hold: { type: 'string', default: '8' },
    patience: { type: 'string', default: '1' },
    guest: { type: 'boolean', default: false },
  },
})
const wanted = Number(values.idle)

if (values.guest) {
  const { slow = '0', sample = '0' } = values
  const own = ['--slow', slow, '--idle', values.idle, '--sample', sample]
  own.push('--hold', values.hold, '--patience', '10')
  // The client's and the edge's ends of a connection take less than 0.2 MiB together.
  const memory = 2048 + Math.ceil(Math.max(wanted, Number(slow), Number(sample)) / 5)
  // A busy machine leaves little for an emulation: then 20,000 take more than an hour.
  const size = ['--memory', `${memory}`, '--deadline', '10800']
  const command = [process.execPath, import.meta.filename, ...own]
  // Else the guest would have to build them, slowly.
  goClients()
  process.exit(await runGuest(parseGuest([...size, '--', ...command])))
}

/** Descriptors that one program may open here, with some for other ends. */
function descriptors(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1')
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1]
  return hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard) - 1200
}

const patience = Number(values.patience)
const holdMs = Number(values.hold) * 1000
const backend = await startBackend()
const idle = Math.min(wanted, descriptors())
if (idle < wanted) {
  console.log(`the descriptor limit allows ${idle} of ${wanted}; with --guest there is none`)
}

/** A fresh edge: what the allocator kept from an earlier stage must not hide in the figures. */
async function stage<T>(act: (edge: RunningEdge) => Promise<T>) {
  const edge = await startEdge({
    arguments: ['--backend', backend.url, '--no-redirect', '--waf', 'off'],
    environment: {
      EDGE_LIMITS_CONNECTIONS_MAX: '100000',
      // Else the last fifth of what the descriptors allow makes idle connections go early.
      EDGE_LIMITS_PRESSURE_PERCENT: '100',
      EDGE_LIMITS_CONNECTIONS_PER_ADDRESS_MAX: '100000',
      EDGE_LIMITS_KEEP_ALIVE_IDLE_TIMEOUT: `${1200 * patience}s`,
      EDGE_LIMITS_HANDSHAKE_TIMEOUT: `${10 * patience}s`,
      // A worker that says nothing for three seconds is dead, but not on an emulated processor.
      EDGE_LIMITS_WORKER_WAIT_TIMEOUT: `${10 * patience}s`,
      EDGE_WAF_WORKER_SILENCE: `${3 * patience}s`,
    },
    readyTimeoutMs: 30_000 * patience,
  })
  try {
    return await act(edge)
  } finally {
    await edge.stop()
  }
}

let failed = false
const expectTrue = (holds: boolean, what: string) => {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}`)
  failed ||= !holds
}

const began = performance.now()
/** A long silence is no good sign; only where it would be long, though. */
function progress(opened: number): void {
  if (patience > 1) console.log(`${opened} are open, ${seconds(performance.now() - began)}`)
}

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`

const isAnswered = ({ seen }: { seen: Record<string, number> }) =>
  Object.keys(seen).join() === '200'

async function cutSlow(edge: RunningEdge, count: number) {
  const traffic = benign(edge.httpPort, patience)
  const client = await hold({ edge, kind: 'slow', count, patience })
  const held = await client.result
  const ordinary = await traffic.stop()
  console.log('slow headers', held, 'benign', ordinary)
  expectTrue(held.opened === count && held.closed === count, `${count} slow headers closed`)
  expectTrue(held.longestMs <= 15_000, 'all of them within 15 s')
  expectTrue(isAnswered(ordinary), 'every benign request answered')
}

async function measure(kind: HoldKind, count: number) {
  await stage(async (edge) => {
    const pid = edge.process.pid ?? 0
    const opening = benign(edge.httpPort, patience)
    await sleep(1000)
    const before = residentKib(pid)
    const opens = performance.now()
    const client = await hold({ edge, kind, count, patience, progress })
    const openedIn = seconds(performance.now() - opens)
    const whileOpening = await opening.stop()
    const holding = benign(edge.httpPort, patience)
    await sleep(holdMs)
    const each = (residentKib(pid) - before) / count
    const whileHeld = await holding.stop()
    await sleep(1000)
    const spent = processorMs(pid)
    await sleep(8000)
    const share = (processorMs(pid) - spent) / 80
    const { opened, closed, failed: failures } = await client.finish()
    if (edge.process.exitCode !== null) console.log(edge.output())
    console.log(kind, { opened, closed, failures }, `opened in ${openedIn}`)
    console.log('benign requests while they are opened', whileOpening, 'and held', whileHeld)
    console.log(`${kind}: ${each.toFixed(1)} KiB each, idle ${share.toFixed(2)} % of a core`)
    expectTrue(opened === count && closed === 0, `${count} ${kind} connections held`)
    expectTrue(isAnswered(whileOpening) && isAnswered(whileHeld), 'every benign request answered')
  })
}

const slow = Number(values.slow ?? 2000)
if (slow > 0) await stage((edge) => cutSlow(edge, slow))
const sample = Number(values.sample ?? 4000)
if (sample > 0) for (const kind of ['plain', 'h1', 'h2'] as const) await measure(kind, sample)
await measure('h1', idle)
backend.close()
process.exitCode = failed ? 3 : 0
