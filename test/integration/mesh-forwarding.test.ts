/**
 * Two nodes that know only the leaders between them, whose kernels forward nothing: 1 and 4 are the
 * nodes, 2 and 3 the leaders.
 */
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PeerChange } from '../../mesh/reconcile.ts'
import { bodyBytes, type FlowResult } from '../harness/mesh-probe.ts'
import { TestDevice } from '../harness/mesh-devices.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const missing = missingForMachines()
if (missing !== '') console.warn(`NOT RUN: leaders, because there is no ${missing} here`)
const story = test.runIf(missing === '')
const machines: { all?: Machines } = {}
const { start, end } = programsOn(() => {
  if (machines.all === undefined) throw new Error('no machines')
  return machines.all
})
const addressesOf = (machine: number) => [`100.96.0.${machine}`, `fd96::${machine}`] as const
const ranges = ['100.96.0.0/16', 'fd96::/64']
const own = (machine: number) => {
  const [v4, v6] = addressesOf(machine)
  return [`${v4}/32`, `${v6}/128`]
}
interface Nodes {
  readonly one: TestDevice
  readonly four: TestDevice
  readonly leaders: [TestDevice, TestDevice]
  readonly probe: Probe
}
let nodes: Nodes

/** One of the two ends says who is the way to the other end, and who stands by. */
async function lead(end: TestDevice, other: number, leader: TestDevice): Promise<void> {
  const peers = nodes.leaders.map((peer, place): PeerChange => {
    const isWay = peer === leader
    const itself = own(place + 2)
    return {
      publicKey: peer.publicKey,
      endpoint: peer.endpoint,
      isWatched: true,
      allowedIps: isWay ? [...itself, ...own(other)] : itself,
      standbyIps: isWay ? [] : own(other),
    }
  })
  await end.apply({ peers })
}

/** A leader that knows both ends. */
async function begin(leader: TestDevice, machine: number): Promise<void> {
  await leader.begin()
  const { one, four } = nodes
  const peers = [one, four].map(({ publicKey, endpoint }, place) => ({
    publicKey,
    endpoint,
    allowedIps: own(place === 0 ? 1 : 4),
    isInside: place === 0,
  }))
  await leader.apply({ addAddresses: own(machine), peers, forwards: true })
}

async function flows(change: () => Promise<void>): Promise<FlowResult> {
  await nodes.probe.ask({ ask: 'begin', address: addressesOf(4)[0], intervalMs: 5 })
  await change()
  return (await nodes.probe.ask({ ask: 'end' })) as FlowResult
}

/** Ends when a leader has passed on more to node 1 than before. */
async function carries(leader: TestDevice): Promise<void> {
  const counted = async () => (await leader.statsOf(nodes.one))?.sentBytes ?? 0
  const before = await counted()
  await until('a leader carries packets', async () => (await counted()) > before + 500)
}

const ping = (address: string, timeoutMs = 20_000) =>
  nodes.probe.ask({ ask: 'ping', address, timeoutMs })

beforeAll(async () => {
  if (missing !== '') return
  machines.all = makeMachines(`edge-leaders-${process.pid}`, 4)
  const devices = [1, 2, 3, 4].map((machine) => new TestDevice(start, machine))
  const [one, two, three, four] = devices
  if (!one || !two || !three || !four) throw new Error('four devices')
  const probes = [1, 4].map((machine) => new Probe(start, machine, String(machine)))
  const [probe, echo] = probes
  if (!probe || !echo) throw new Error('two probes')
  nodes = { one, four, leaders: [two, three], probe }
  await Promise.all([one.begin(), four.begin(), probe.begin(), echo.begin()])
  await Promise.all([begin(two, 2), begin(three, 3)])
  for (const [end, machine] of [[one, 1] as const, [four, 4] as const]) {
    await end.apply({ addAddresses: own(machine), addRoutes: ranges })
    await lead(end, 5 - machine, two)
  }
}, 60_000)

afterAll(async () => {
  await end()
  machines.all?.remove()
})

story('a leader passes on what is for another peer, and its kernel nothing', async () => {
  const sysctl = (value: string) =>
    start(2, 'sh', ['-c', `${value}cat /proc/sys/net/ipv4/ip_forward`])
  const told = sysctl('echo 0 > /proc/sys/net/ipv4/ip_forward; ')
  await told.ended
  expect(told.output()).toBe('0\n')
  for (const address of addressesOf(4)) {
    expect(await ping(address)).not.toBeNull()
    const url = `http://${address.includes(':') ? `[${address}]` : address}:8080/`
    const got = await nodes.probe.ask({ ask: 'get', url, version: '1.1' })
    expect(got).toMatchObject({ status: 200, node: '4', bytes: bodyBytes })
  }
  const [leader] = nodes.leaders
  await leader.apply({ forwards: false })
  expect(await ping(addressesOf(4)[0], 500)).toBeNull()
  await leader.apply({ forwards: true })
  expect(await ping(addressesOf(4)[0])).not.toBeNull()
})

story(
  'a way moves to the other leader at one end, then at the other; nothing is lost',
  async () => {
    const { one, four, leaders } = nodes
    const { lost, sent } = await flows(async () => {
      for (let round = 0; round < 10; round += 1) {
        const [now, next] = round % 2 === 0 ? [leaders[0], leaders[1]] : [leaders[1], leaders[0]]
        await carries(now)
        await lead(one, 4, next)
        await carries(now) // the answers

        await lead(four, 1, next)
      }
    })
    expect({ lost, enough: sent > 100 }).toEqual({ lost: 0, enough: true })
  },
)

story('a leader that dies is seen at once where packets are sent, and both move', async () => {
  const { one, four, leaders } = nodes
  const [dead, left] = leaders
  const silence = async (device: TestDevice) => (await device.statsOf(dead))?.unansweredMs ?? 0
  const { lost, gapMs } = await flows(async () => {
    await carries(dead)
    expect(await silence(one)).toBeLessThan(2_000)
    await dead.kill()
    await until('it is missed', async () => (await silence(one)) > 2_500)
    await lead(one, 4, left)
    await lead(four, 1, left)
  })
  expect(lost).toBeGreaterThan(100)
  expect(gapMs).toBeLessThan(5_000)
  expect(await ping(addressesOf(4)[1])).not.toBeNull()
})

const setpriv = '/usr/bin/setpriv'
const nobody = [setpriv, '--reuid=65534', '--clear-groups', '--bounding-set=-all']

test.runIf(missing === '' && existsSync(setpriv))(
  'a leader without an interface and without any privilege passes packets on as well',
  async () => {
    const leader = new TestDevice(start, 2, 'netstack', nobody)
    nodes.leaders[0] = leader
    await begin(leader, 2)
    const { one, four } = nodes
    for (const [end, other] of [[one, 4] as const, [four, 1] as const]) {
      await lead(end, other, leader)
    }
    const [v4, v6] = addressesOf(4)
    for (const address of [v4, v6]) expect(await ping(address)).not.toBeNull()
    const got = await nodes.probe.ask({ ask: 'get', url: `http://${v4}:8080/`, version: '1.1' })
    expect(got).toMatchObject({ status: 200, node: '4', bytes: bodyBytes })
  },
)
