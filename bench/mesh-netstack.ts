/**
 * How fast is one TCP stream through a node without any privilege, beside gVisor's stack?
 *
 *   node bench/mesh-netstack.ts [--seconds 5] [--rounds 3]
 *
 * Both contenders run as nobody without capabilities in one namespace, and are loaded through a
 * Unix socket by the same program; the other side of both is one wireguard-go on an interface in
 * another namespace. Interleaved; medians, and each round's ratio. CPU is that of the contender's
 * program, and of both ends of the tunnel, in seconds per GiB. Needs root, Go and `ip`.
 */
import { execFileSync, type ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../test/harness/edge.ts'
import { makeMachines } from '../test/harness/namespaces.ts'
import { until } from '../test/harness/wait.ts'
import type { NodeSettings } from './mesh/node.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
})
const nobody = 65_534
const program = join(root, '.cache/bin/mesh-bench')
mkdirSync(join(root, '.cache/bin'), { recursive: true })
const sources = join(root, 'bench/mesh')
execFileSync('go', ['build', '-o', program, '.'], { cwd: sources, stdio: 'inherit' })

interface Keys {
  readonly secret: string
  readonly open: string
}

function keys(): Keys {
  const { privateKey } = generateKeyPairSync('x25519')
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' })
  return { secret: d, open: x }
}

const hex = (key: string): string => Buffer.from(key, 'base64url').toString('hex')
const base64 = (key: string): string => Buffer.from(key, 'base64url').toString('base64')

const folder = mkdtempSync(join(tmpdir(), 'mesh-bench-'))
chmodSync(folder, 0o755)
const own = join(folder, 'nobody')
mkdirSync(own)
chownSync(own, nobody, nobody)
const machines = makeMachines(`edge-bench-${process.pid}`, 2)
const children: ChildProcess[] = []

function start(machine: number, command: string, args: readonly string[]): ChildProcess {
  const child = machines.spawn(machine, command, args)
  children.push(child)
  child.stderr?.on('data', (chunk: Buffer) => void process.stderr.write(chunk))
  return child
}

async function ready(child: ChildProcess): Promise<ChildProcess> {
  let text = ''
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await until(
    () => `ready: ${text}`,
    () => text.includes('ready'),
    60_000,
  )
  return child
}

function startAsNobody(...command: readonly string[]): Promise<ChildProcess> {
  const ids = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', '--no-new-privs']
  return ready(start(1, 'setpriv', [...ids, '--bounding-set=-all', '--inh-caps=-all', ...command]))
}

function ownFile(name: string, text: string): string {
  const file = join(own, name)
  writeFileSync(file, text, { mode: 0o600 })
  chownSync(file, nobody, nobody)
  return file
}

/** Seconds that a program has used. */
function cpuOf({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function residentMb({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) / 1024)
}

interface Contender {
  readonly name: string
  readonly child: ChildProcess
  readonly door: string
}

interface Sample {
  readonly gigabits: number
  readonly ownCpu: number
  readonly cpu: number
}

async function sample({ child, door }: Contender, peer: ChildProcess, direction: string) {
  const before = [cpuOf(child), cpuOf(peer)] as const
  const args = ['load', door, '10.9.0.2:5001', direction, values.seconds]
  const load = start(1, program, args)
  let text = ''
  load.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const { promise: ended, resolve } = Promise.withResolvers<number | null>()
  load.on('close', resolve)
  if ((await ended) !== 0) throw new Error(`the load failed: ${text}`)
  const { bytes, seconds } = JSON.parse(text) as { bytes: number; seconds: number }
  const gib = bytes / 2 ** 30
  const ownCpu = (cpuOf(child) - before[0]) / gib
  const all = ownCpu + (cpuOf(peer) - before[1]) / gib
  return { gigabits: (bytes * 8) / seconds / 1e9, ownCpu, cpu: all } satisfies Sample
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? Number.NaN
}

function line(name: string, samples: readonly Sample[]): string {
  const rates = samples.map(({ gigabits }) => gigabits)
  const of = (what: keyof Sample) => median(samples.map((one) => one[what])).toFixed(2)
  const spread = `${Math.min(...rates).toFixed(2)}-${Math.max(...rates).toFixed(2)}`
  const cpu = `CPU-s/GiB own ${of('ownCpu')}, both ${of('cpu')}`
  return `${name} ${of('gigabits')} Gbit/s (${spread}), ${cpu}`
}

try {
  const [peerKeys, theirs, ours] = [keys(), keys(), keys()]
  const allowed = (key: Keys, address: string) =>
    `public_key=${hex(key.open)}\nallowed_ip=${address}/32\n`
  const peerFile = join(folder, 'peer')
  const peers = allowed(theirs, '10.9.0.1') + allowed(ours, '10.9.0.3')
  writeFileSync(peerFile, `private_key=${hex(peerKeys.secret)}\nlisten_port=51820\n${peers}`)
  const peer = await ready(start(2, program, ['peer', peerFile, 'wg0']))
  machines.ip(2, 'address', 'add', '10.9.0.2/24', 'dev', 'wg0')
  machines.ip(2, 'link', 'set', 'wg0', 'up', 'mtu', '1420')
  await ready(start(2, program, ['serve', '10.9.0.2:5001']))

  const endpoint = '10.77.0.2:51820'
  const door = (name: string) => join(own, `${name}.sock`)
  const toPeer = `${allowed(peerKeys, '10.9.0.2')}endpoint=${endpoint}\n`
  const file = ownFile('theirs', `private_key=${hex(theirs.secret)}\nlisten_port=51821\n${toPeer}`)
  const settings: NodeSettings = {
    privateKey: base64(ours.secret),
    port: 51_822,
    address: '10.9.0.3',
    peer: { publicKey: base64(peerKeys.open), endpoint, address: '10.9.0.2' },
    door: door('ours'),
  }
  const node = [
    process.execPath,
    join(sources, 'node.ts'),
    ownFile('ours', JSON.stringify(settings)),
  ]
  const gvisor = await startAsNobody(program, 'netstack', file, '10.9.0.1', door('gvisor'))
  const contenders: readonly Contender[] = [
    { name: 'gVisor', child: gvisor, door: door('gvisor') },
    { name: 'ours', child: await startAsNobody(...node), door: door('ours') },
  ]
  for (const direction of ['up', 'down']) {
    const samples = new Map(contenders.map(({ name }) => [name, [] as Sample[]]))
    const rounds = Number(values.rounds)
    for (let round = 0; round < rounds; round += 1) {
      // `load` proves that what was sent arrived, before it says how fast.
      for (const one of contenders) {
        samples.get(one.name)?.push(await sample(one, peer, direction))
      }
    }
    console.log(`${direction === 'up' ? 'forward' : 'reverse'}, load ${loadavg()[0]?.toFixed(1)}`)
    for (const [name, all] of samples) console.log(`  ${line(name, all)}`)
    const [theirRates, ourRates] = contenders.map(({ name }) => samples.get(name) ?? [])
    const ratios = ourRates?.map(({ gigabits }, at) => gigabits / (theirRates?.[at]?.gigabits ?? 0))
    console.log(`  ratio ${ratios?.map((ratio) => ratio.toFixed(2)).join(' ')}`)
  }
  for (const { name, child } of contenders) console.log(`${name}: at most ${residentMb(child)} MB`)
} finally {
  for (const child of children) child.kill('SIGKILL')
  await until('all end', () =>
    children.every(({ exitCode, signalCode }) => (exitCode ?? signalCode) !== null),
  )
  machines.remove()
  rmSync(folder, { recursive: true, force: true })
}
