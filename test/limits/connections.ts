/**
 * `npm run e2e:connections -- [--slow 2000] [--idle 20000] [--sample 4000]`: slow headers are cut
 * in time, and idle TLS connections are held, while benign requests go on. Prints the memory for
 * each idle connection and the processor time that idling costs.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'
import { benign, hold, processorMs, residentKib, type HoldKind } from './hold-stage.ts'

const { values } = parseArgs({
  options: {
    slow: { type: 'string', default: '2000' },
    idle: { type: 'string', default: '20000' },
    sample: { type: 'string', default: '4000' },
  },
})

/** Descriptors that one process may open here, with some for other ends. */
function descriptors(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1')
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1]
  return hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard) - 1200
}

const backend = await startBackend()
const wanted = Number(values.idle)
const idle = Math.min(wanted, descriptors())
if (idle < wanted) console.log(`the machine's descriptor limit allows ${idle} of ${wanted}`)

/** A fresh edge: what the allocator kept from an earlier stage must not hide in the figures. */
async function stage<T>(act: (edge: Awaited<ReturnType<typeof startEdge>>) => Promise<T>) {
  const edge = await startEdge({
    arguments: ['--backend', backend.url, '--no-redirect', '--waf', 'off'],
    environment: {
      EDGE_LIMITS_CONNECTIONS_MAX: '100000',
      // Else the last fifth of what the descriptors allow makes idle connections go early.
      EDGE_LIMITS_PRESSURE_PERCENT: '100',
      EDGE_LIMITS_CONNECTIONS_PER_ADDRESS_MAX: '100000',
      EDGE_LIMITS_KEEP_ALIVE_IDLE_TIMEOUT: '600s',
    },
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

await stage(async (edge) => {
  const traffic = benign(edge.httpPort)
  const count = Number(values.slow)
  const client = await hold({ edge, kind: 'slow', count })
  const held = await client.result
  const { seen, longestMs } = await traffic.stop()
  console.log('slow headers', held, 'benign', seen, { longestMs })
  expectTrue(held.opened === count && held.closed === count, `${count} slow headers closed`)
  expectTrue(held.longestMs <= 15_000, 'all of them within 15 s')
  expectTrue(Object.keys(seen).join() === '200', 'every benign request answered')
})

async function measure(kind: HoldKind, count: number) {
  await stage(async (edge) => {
    const pid = edge.process.pid ?? 0
    const traffic = benign(edge.httpPort)
    await sleep(1000)
    const before = residentKib(pid)
    const client = await hold({ edge, kind, count })
    await sleep(8000) // an idle connection changes its wait once, after five seconds
    const each = (residentKib(pid) - before) / count
    const { seen, longestMs } = await traffic.stop()
    await sleep(1000)
    const spent = processorMs(pid)
    await sleep(8000)
    const share = (processorMs(pid) - spent) / 80
    const { opened, closed, failed: failures } = await client.finish()
    console.log(kind, { opened, closed, failures }, 'benign', seen, { longestMs })
    console.log(`${kind}: ${each.toFixed(1)} KiB each, idle ${share.toFixed(2)} % of a core`)
    expectTrue(opened === count && closed === 0, `${count} ${kind} connections held`)
    expectTrue(Object.keys(seen).join() === '200', 'every benign request answered')
  })
}

const sample = Number(values.sample)
if (sample > 0) for (const kind of ['plain', 'h1', 'h2'] as const) await measure(kind, sample)
await measure('h1', idle)
backend.close()
process.exitCode = failed ? 3 : 0
