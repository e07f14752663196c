/**
 * What does a leader cost that carries a stream from one peer to another, beside the same node
 * whose kernel forwards it through the interface?
 *
 *   node scripts/pinned.mjs bench/mesh-leader.ts [--seconds 5] [--rounds 3] [-- IPERF3_FLAGS]
 *
 * Three namespaces; the outer two know the middle one alone. The two ways in turn in each round:
 * Gbit/s, and CPU seconds of the middle node's program for each GiB (the kernel's own part of
 * forwarding is in none of them). Needs root, /dev/net/tun, `ip`, and apt-get for iperf3.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { PeerChange } from '../mesh/reconcile.ts'
import { TestDevice } from '../test/harness/mesh-devices.ts'
import { makeMachines } from '../test/harness/namespaces.ts'
import { programsOn } from '../test/harness/programs.ts'
import { debianPrograms } from './mesh/debian.ts'

const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
  allowPositionals: true,
})
const [program = '', ...iperf] = debianPrograms().iperf
const machines = makeMachines(`edge-lead-${process.pid}`, 3)
const { start, end } = programsOn(() => machines)
const devices = [1, 2, 3].map((machine) => new TestDevice(start, machine))
const [one, middle, two] = devices as [TestDevice, TestDevice, TestDevice]
const everything = '100.96.0.0/16'
const own = (machine: number): string => `100.96.0.${machine}/32`

function peer({ publicKey, endpoint }: TestDevice, range: string): PeerChange {
  return { publicKey, endpoint, allowedIps: [range] }
}

async function join(): Promise<void> {
  await Promise.all(devices.map((device) => device.begin()))
  for (const [device, machine] of [[one, 1] as const, [two, 3] as const]) {
    const peers = [peer(middle, everything)]
    await device.apply({ addAddresses: [own(machine)], addRoutes: [everything], peers })
  }
  await middle.apply({
    addAddresses: [own(2)],
    addRoutes: [own(1), own(3)],
    peers: [{ ...peer(one, own(1)), isInside: true }, peer(two, own(3))],
  })
}

/** Seconds that a program has used. */
function cpuOf({ pid }: TestDevice): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '')
  const fields = stat.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

interface Sample {
  readonly gigabits: number
  readonly cpuPerGibibyte: number
}

async function sample(way: 'device' | 'kernel'): Promise<Sample> {
  await middle.apply({ forwards: way === 'device' })
  const flag = `echo ${way === 'kernel' ? 1 : 0} > /proc/sys/net/ipv4/ip_forward`
  await start(2, 'sh', ['-c', flag]).ended
  await sleep(300)
  const before = cpuOf(middle)
  const args = ['-c', '100.96.0.3', '-t', values.seconds, '-J', ...positionals]
  const client = start(1, program, [...iperf, ...args])
  await client.ended
  const spent = cpuOf(middle) - before
  const told = JSON.parse(client.output()) as {
    end: { sum_received: { bytes: number; seconds: number } }
  }
  const { bytes, seconds } = told.end.sum_received
  return { gigabits: (bytes * 8) / seconds / 1e9, cpuPerGibibyte: spent / (bytes / 2 ** 30) }
}

try {
  await join()
  start(3, program, [...iperf, '-s'])
  await sleep(500)
  for (let round = 1; round <= Number(values.rounds); round += 1) {
    const device = await sample('device')
    const kernel = await sample('kernel')
    const text = ({ gigabits, cpuPerGibibyte }: Sample): string =>
      `${gigabits.toFixed(2)} Gbit/s, ${cpuPerGibibyte.toFixed(2)} CPU-s/GiB`
    const ratio = (device.cpuPerGibibyte / kernel.cpuPerGibibyte).toFixed(2)
    console.log(`device ${text(device)}; its kernel ${text(kernel)}; CPU ratio ${ratio}`)
  }
} finally {
  await end()
  machines.remove()
}
