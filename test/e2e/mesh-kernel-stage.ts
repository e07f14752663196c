/** What mesh-kernel.ts runs in its guest. Needs root and a kernel with WireGuard. */
import { deepStrictEqual, match, ok, strictEqual } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DeviceDelta } from '../../mesh/reconcile.ts'
import type { MeshStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import type { StepAnswer } from '../harness/mesh-device.ts'
import { TestDevice } from '../harness/mesh-devices.ts'
import { makeMachines } from '../harness/namespaces.ts'
import type { FlowResult } from '../harness/mesh-probe.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

/** An emulated processor takes ten to thirty times as long, and a busy machine even longer. */
const patienceMs = 240_000
const flowIntervalMs = 20
const manyPeers = 2_000

execFileSync('modprobe', ['tun'])
const machines = makeMachines('edge-kernel', 5)
const programs = programsOn(() => machines)
const { start, run, end } = programs
const folder = mkdtempSync(join(tmpdir(), 'mesh-kernel-'))
const edge = join(root, 'edge')
const coordinatorState = join(folder, 'coordinator')
const names = ['a', 'b', 'c', 'd'] as const
const nameOf = (machine: number): string => names[machine - 1] ?? ''
const stateOf = (machine: number): string => join(folder, nameOf(machine))

function up(machine: number, mode: string, secret = '', ...flags: readonly string[]): Running {
  const given = secret === '' ? [] : ['--token', secret]
  const where = ['--coordinator', 'https://10.77.0.1:7443', '--name', nameOf(machine)]
  const own = ['--mode', mode, '--state', stateOf(machine), ...given, ...flags]
  const args = ['mesh', 'up', ...where, ...own]
  return start(machine, edge, args)
}

/** Its addresses, once it is ready. */
async function readyOf(running: Running): Promise<string[]> {
  const line = (): string | undefined => /^ready\b.*$/m.exec(running.output())?.[0]
  const isOver = { value: false }
  void running.ended.then(() => (isOver.value = true))
  await until(running.output, () => line() !== undefined || isOver.value, patienceMs)
  ok(line() !== undefined, running.output())
  return /addresses=(\S+)/.exec(line() ?? '')?.[1]?.split(',') ?? []
}

async function token(location = ''): Promise<string> {
  const labels = location === '' ? [] : ['--label', `location=${location}`]
  const { code, output } = await run(1, 'mesh', 'token', '--state', coordinatorState, ...labels)
  strictEqual(code, 0, output)
  return output.trim()
}

const status = (machine: number): Promise<MeshStatus> => programs.status(machine, stateOf(machine))

const interfaceOf = (machine: number): string =>
  machines.ip(machine, '-detail', 'link', 'show', 'edge0')
const indexOf = (machine: number): string => /^(\d+):/.exec(interfaceOf(machine))?.[1] ?? ''
const hasInterface = (machine: number): boolean => machines.ip(machine, 'link').includes('edge0')

const agents: Running[] = []
const probes: (Probe | undefined)[] = []
const addresses: string[][] = []

async function reach(from: number, to: number): Promise<void> {
  for (const address of addresses[to - 1] ?? []) {
    const took = await probes[from - 1]?.ask({ ask: 'ping', address, timeoutMs: 60_000 })
    ok(typeof took === 'number', `${nameOf(from)} → ${address}`)
  }
}

/** What a flow from one machine to another came to while something was done. */
async function under(from: number, to: number, act: () => Promise<unknown>): Promise<FlowResult> {
  const [address = ''] = addresses[to - 1] ?? []
  await probes[from - 1]?.ask({ ask: 'begin', address, intervalMs: flowIntervalMs })
  await sleep(1_000)
  await act()
  await sleep(2_000)
  return (await probes[from - 1]?.ask({ ask: 'end' })) as FlowResult
}

/** By machine: the south has one that could lead, the north two. None but those forwards. */
const located = ['n1', 'n2', 'n3', 's1', 's2'] as const
const forwarding: readonly number[] = [1, 2, 4]
const placeOf = (machine: number): string => join(folder, located[machine - 1] ?? '')

/** A node of a location, on a machine that another one may have left. */
async function settle(machine: number): Promise<Running> {
  const name = located[machine - 1] ?? ''
  if (forwarding.includes(machine)) {
    const all = 'net/ipv4/ip_forward net/ipv6/conf/all/forwarding'
    const command = `cd /proc/sys; for file in ${all}; do echo 1 > $file; done`
    strictEqual(await start(machine, 'sh', ['-c', command]).ended, 0)
  }
  const given = ['--token', await token(name.startsWith('n') ? 'north' : 'south')]
  const where = ['--coordinator', 'https://10.77.0.1:7443', '--name', name]
  const own = ['--mode', 'kernel', '--state', placeOf(machine), ...given]
  const agent = start(machine, edge, ['mesh', 'up', ...where, ...own])
  addresses[machine - 1] = await readyOf(agent)
  return agent
}

/** The kernel takes packets from a range of one peer alone, so no end moves without the other one:
 * the coordinator's mark has both of them turn to the leader that is left. */
async function locations(): Promise<string> {
  for (const machine of [1, 2, 3, 4, 5]) {
    agents.push(await settle(machine))
    if (probes[machine - 1] !== undefined) continue
    const probe = new Probe(start, machine, located[machine - 1] ?? '')
    probes[machine - 1] = probe
    await probe.begin()
  }
  const leadersAt = async (machine: number): Promise<string> => {
    const { location } = await programs.status(machine, placeOf(machine))
    return (location?.leaders ?? []).join(' ')
  }
  await until('s1 alone', async () => (await leadersAt(5)) === 's1', patienceMs)
  await until('n1 and n2', async () => (await leadersAt(3)) === 'n1 n2', patienceMs)
  const through = async (): Promise<string | null | undefined> => {
    const { peers } = await programs.status(3, placeOf(3))
    return peers.find(({ name }) => name === 's2')?.leader
  }
  await reach(3, 5)
  await reach(5, 3)
  const first = await through()
  ok(first === 'n1' || first === 'n2', String(first))
  const leader = located.indexOf(first) + 1
  const flow = await under(3, 5, async () => {
    const [dying] = agents.slice(leader - 1 - located.length)
    if (dying !== undefined) strictEqual(await stop(dying), 0)
    ok(!hasInterface(leader))
    await until('n3 turns to the other one', async () => (await through()) !== first, patienceMs)
    await sleep(8_000)
  })
  ok(flow.gapMs < 60_000, JSON.stringify(flow))
  await reach(3, 5)
  await reach(5, 3)
  strictEqual(await leadersAt(5), 's1')
  strictEqual(await leadersAt(3), first === 'n1' ? 'n2' : 'n1')
  return `${told(flow)} when a leader ended, ${Math.round(flow.gapMs)} ms silent`
}

/** Words of the stories that are wanted; none: all of them. */
const wanted = (process.argv[2] ?? '').split(',').filter(Boolean)

async function story(what: string, act: () => Promise<string | void>): Promise<void> {
  if (wanted.length > 0 && !wanted.some((word) => what.includes(word))) return
  const began = performance.now()
  const found = await act()
  const seconds = Math.round((performance.now() - began) / 1000)
  console.log(`ok ${what}${found === undefined ? '' : `: ${found}`} (${seconds} s)`)
}

const told = ({ sent, lost }: FlowResult): string => `${lost} of ${sent} packets lost`

try {
  console.log(`kernel ${execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()}`)

  await readyOf(
    start(1, edge, ['mesh', 'coordinator', '--listen', '[::]:7443', '--state', coordinatorState]),
  )
  await story('somebody else has the interface: refused, and it stays as it was', async () => {
    machines.ip(4, 'link', 'add', 'edge0', 'type', 'wireguard')
    const before = interfaceOf(4)
    const refused = up(4, 'kernel', await token())
    strictEqual(await refused.ended, 1)
    match(refused.output(), /an interface edge0 is there already, and it is not ours/)
    strictEqual(interfaceOf(4), before)
    machines.ip(4, 'link', 'delete', 'edge0')
    machines.ip(4, 'link', 'add', 'edge0', 'type', 'dummy')
    const again = up(4, 'kernel', await token())
    strictEqual(await again.ended, 1)
    match(again.output(), /an interface edge0 is there already, and it is not ours/)
    match(interfaceOf(4), /dummy/)
    machines.ip(4, 'link', 'delete', 'edge0')
    rmSync(stateOf(4), { recursive: true, force: true })
  })

  await story('the silence of a peer is told by what the kernel counts', async () => {
    const [own, peer] = [new TestDevice(start, 3, 'kernel'), new TestDevice(start, 4)]
    await Promise.all([own.begin(), peer.begin()])
    const { publicKey, endpoint } = peer
    const change = { publicKey, endpoint, allowedIps: ['100.96.0.4/32'], keepaliveS: 1 }
    // What the kernel does not have is taken and does nothing.
    const more = { isWatched: true, standbyIps: ['100.97.0.0/16'] }
    await own.apply({ peers: [{ ...change, ...more }], forwards: true, ownRanges: [] })
    const silence = async () => (await own.statsOf(peer))?.unansweredMs
    await until('nobody answers', async () => Number(await silence()) > 1_000, patienceMs)
    await peer.apply({ peers: [{ publicKey: own.publicKey, allowedIps: ['100.96.0.3/32'] }] })
    await until('it answers', async () => (await silence()) === null, patienceMs)
    for (let look = 0; look < 5; look += 1) {
      await sleep(1_500)
      strictEqual(await silence(), null) // keepalives want no answer
    }
    machines.ip(3, 'link', 'delete', 'edge0')
    await Promise.all([own.kill(), peer.kill()])
  })

  await story('two nodes on the kernel, one of them by auto, reach each other', async () => {
    const everything = ['--advertise', '0.0.0.0/0']
    agents.push(up(1, 'kernel', await token(), ...everything), up(2, 'auto', await token()))
    for (const agent of agents) addresses.push(await readyOf(agent))
    for (const machine of [1, 2, 3]) {
      const probe = new Probe(start, machine, nameOf(machine))
      probes.push(probe)
      await probe.begin()
    }
    await reach(1, 2)
    await reach(2, 1)
    for (const machine of [1, 2]) {
      match(interfaceOf(machine), /mtu 1420[\s\S]*wireguard/)
      const { self, peers } = await status(machine)
      strictEqual(self.mode, 'kernel')
      strictEqual(peers[0]?.path, 'direct')
      ok(Number(peers[0].receivedBytes) > 0)
    }
  })

  await story('a third comes by tun and is removed under a flow of the two', async () => {
    const flow = await under(1, 2, async () => {
      const third = up(3, 'tun', await token())
      addresses[2] = await readyOf(third)
      await reach(3, 1)
      await reach(2, 3)
      strictEqual((await run(1, 'mesh', 'remove', 'c', '--state', coordinatorState)).code, 0)
      strictEqual(await third.ended, 1)
      const isGone = async () => (await status(1)).peers.every(({ name }) => name !== 'c')
      await until('a forgot c', isGone, patienceMs)
    })
    strictEqual(flow.lost, 0, told(flow))
    return told(flow)
  })

  await story('an agent is killed, and another takes its interface over', async () => {
    const before = indexOf(2)
    const flow = await under(1, 2, async () => {
      agents[1]?.child.kill('SIGKILL')
      await agents[1]?.ended
      ok(hasInterface(2))
      agents[1] = up(2, 'auto')
      deepStrictEqual(await readyOf(agents[1]), addresses[1])
    })
    strictEqual(indexOf(2), before)
    strictEqual(flow.lost, 0, told(flow))
    strictEqual((await status(2)).self.mode, 'kernel')
    return told(flow)
  })

  await story('what an agent left and nobody wants goes when it is taken over', async () => {
    agents[1]?.child.kill('SIGKILL')
    await agents[1]?.ended
    const route = (...words: readonly string[]): string =>
      machines.ip(2, 'route', ...words, 'dev', 'edge0')
    route('add', '192.0.2.0/24', 'proto', 'static', 'scope', 'global')
    route('add', '203.0.113.0/24') // an operator's
    machines.ip(2, 'address', 'add', '198.51.100.7/32', 'dev', 'edge0')
    agents[1] = up(2, 'kernel')
    await readyOf(agents[1])
    ok(!route('show').includes('192.0.2.0/24'))
    ok(route('show').includes('203.0.113.0/24'))
    ok(!machines.ip(2, 'address', 'show', 'dev', 'edge0').includes('198.51.100.7'))
    await reach(1, 2)
  })

  for (const machine of [2, 1]) {
    await story(`the key of ${nameOf(machine)} changes under a flow`, async () => {
      const flow = await under(1, 2, async () => {
        strictEqual((await run(machine, 'mesh', 'rotate', '--state', stateOf(machine))).code, 0)
        const output = (): string => agents[machine - 1]?.output() ?? ''
        const isChanged = (): boolean => output().includes('the next key is in use')
        await until(output, isChanged, patienceMs)
      })
      strictEqual(flow.lost, 0, told(flow))
      await reach(1, 2)
      await reach(2, 1)
      return told(flow)
    })
  }

  await story('the key of a node on tun changes under a flow to one on the kernel', async () => {
    rmSync(stateOf(3), { recursive: true, force: true }) // who was removed does not come back
    const third = up(3, 'tun', await token())
    addresses[2] = await readyOf(third)
    await reach(3, 1)
    const flow = await under(3, 1, async () => {
      strictEqual((await run(3, 'mesh', 'rotate', '--state', stateOf(3))).code, 0)
      const isChanged = (): boolean => third.output().includes('the next key is in use')
      await until(third.output, isChanged, patienceMs)
    })
    strictEqual((await run(1, 'mesh', 'remove', 'c', '--state', coordinatorState)).code, 0)
    strictEqual(await third.ended, 1)
    strictEqual(flow.lost, 0, told(flow))
    return told(flow)
  })

  await story('thousands of peers come and go under a flow', async () => {
    const key = (number: number): string => {
      const bytes = Buffer.alloc(32, 7)
      bytes.writeUInt32BE(number)
      return bytes.toString('base64')
    }
    const options = {
      mode: 'kernel',
      interface: 'edge0',
      privateKey: key(0),
      port: 51_820,
      mtu: 1420,
    }
    const file = join(root, 'test/harness/mesh-device.ts')
    const device = start(4, process.execPath, [file, JSON.stringify(options)])
    if (device.child.stdout === null) throw new Error('no output')
    const lines = createInterface({ input: device.child.stdout })[Symbol.asyncIterator]()
    strictEqual((await lines.next()).value, 'ready')
    const ask = async (line: string): Promise<StepAnswer> => {
      device.child.stdin?.write(`${line}\n`)
      return JSON.parse(String((await lines.next()).value)) as StepAnswer
    }
    const apply = (delta: Partial<DeviceDelta>): Promise<StepAnswer> => ask(JSON.stringify(delta))
    const peers = Array.from({ length: manyPeers }, (_, index) => {
      const [high, low] = [index >> 8, index & 255]
      const allowedIps = [`10.1.${high}.${low}/32`, `10.2.${high}.${low}/32`, `fd10::${index}/128`]
      const place = { allowedIps, endpoint: `10.77.0.9:${1000 + index}` }
      // The last ten are called, which shows that they are there.
      return { publicKey: key(index + 1), ...place, keepaliveS: index < manyPeers - 10 ? 0 : 25 }
    })
    const flow = await under(1, 2, async () => {
      deepStrictEqual((await apply({ peers, addAddresses: ['10.0.0.1/32'] })).answer, [])
      strictEqual((await ask('stats')).answer.length, 10)
      await apply({ removePeers: peers.slice(0, -5).map(({ publicKey }) => publicKey) })
      strictEqual((await ask('stats')).answer.length, 5)
    })
    strictEqual(flow.lost, 0, told(flow))
    device.child.stdin?.end()
    strictEqual(await device.ended, 0)
    ok(!hasInterface(4))
    return `${manyPeers}, ${told(flow)}`
  })

  await story('a port that is taken leaves nothing behind', async () => {
    const options = { mode: 'kernel', interface: 'edge9', port: 51_820, mtu: 1420 }
    const privateKey = Buffer.alloc(32, 9).toString('base64')
    const file = join(root, 'test/harness/mesh-device.ts')
    const device = start(1, process.execPath, [file, JSON.stringify({ ...options, privateKey })])
    strictEqual(await device.ended, 1)
    match(device.output(), /UDP port 51820 is taken/)
    ok(!machines.ip(1, 'link').includes('edge9'))
  })

  await story('the default route of one goes through the other', async () => {
    const elsewhere = '203.0.113.9'
    machines.ip(1, 'address', 'add', elsewhere, 'dev', 'lo')
    machines.ip(2, 'route', 'add', 'default', 'via', '10.77.0.254')
    const before = machines.ip(2, 'rule')
    if (agents[1] !== undefined) strictEqual(await stop(agents[1]), 0)
    const asking = up(2, 'kernel', '', '--default-route', 'a')
    agents[1] = asking
    await readyOf(asking)
    const took = await probes[1]?.ask({ ask: 'ping', address: elsewhere, timeoutMs: 60_000 })
    strictEqual(typeof took, 'number')
    ok(machines.ip(2, 'rule') !== before)
    // One that is killed leaves its interface and its rules, and the next one has them all.
    asking.child.kill('SIGKILL')
    await asking.ended
    agents[1] = up(2, 'kernel', '', '--default-route', 'a')
    await readyOf(agents[1])
    const again = await probes[1]?.ask({ ask: 'ping', address: elsewhere, timeoutMs: 60_000 })
    strictEqual(typeof again, 'number')
    strictEqual(await stop(agents[1]), 0)
    strictEqual(machines.ip(2, 'rule'), before)
    ok(!machines.ip(2, 'route', 'show', 'table', 'all').includes('table 237'))
    agents[1] = up(2, 'kernel')
    await readyOf(agents[1])
  })

  await story('an agent that ends takes its interface and nothing else', async () => {
    machines.ip(1, 'link', 'add', 'wg9', 'type', 'wireguard')
    for (const agent of agents) strictEqual(await stop(agent), 0)
    for (const machine of [1, 2]) {
      ok(!hasInterface(machine))
      match(machines.ip(machine, 'address', 'show', 'dev', 'eth0'), /10\.77\.0\./)
    }
    match(machines.ip(1, 'link'), /wg9/)
  })

  await story(
    'in locations those lead whose kernel forwards, and a mark moves everybody',
    locations,
  )
} catch (error) {
  console.log(`FAIL ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  for (const agent of agents) console.log(agent.output())
  process.exitCode = 1
} finally {
  await end()
  machines.remove()
  rmSync(folder, { recursive: true, force: true })
}
