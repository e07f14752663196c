import { expect, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Refused } from './device.ts'
import { nodeOf } from './node.fixture.ts'
import type { DeviceDelta } from './reconcile.ts'
import { topology } from './topology.ts'
import { Upkeep } from './upkeep.ts'

const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }
const place = { self: 'id-1', networks, outside: [], isBehindNat: false }
const wanted = (count: number) =>
  topology(
    Array.from({ length: count }, (_, at) => nodeOf(at + 1)),
    place,
  )

function upkeepOf(refuse: (delta: DeviceDelta) => readonly Refused[] = () => []) {
  const deltas: DeviceDelta[] = []
  const warnings: string[] = []
  const news: string[] = []
  const device = {
    async apply(delta: DeviceDelta) {
      deltas.push(delta)
      await sleep(5)
      return refuse(delta)
    },
  }
  const warn = (_: object, what: string) => void warnings.push(what)
  const info = (_: object, what: string) => void news.push(what)
  const log = { info, warn, error: () => undefined }
  return { upkeep: new Upkeep({ device, name: 'node-1', log }), deltas, warnings, news }
}

test('changes at one time are made one after the other', async () => {
  const { upkeep, deltas } = upkeepOf()
  await Promise.all([upkeep.bringAbout(wanted(3)), upkeep.bringAbout(wanted(4)), upkeep.repair()])
  const added = deltas.map(({ peers }) => peers.map(({ publicKey }) => publicKey))
  expect(added.flat()).toEqual([...new Set(added.flat())])
  expect(deltas.flatMap(({ addAddresses }) => addAddresses)).toEqual(wanted(1).addresses)
})

test('what was refused is told once, shown, and tried again', async () => {
  let isRefused = true
  const fault = { network: networks.ipv4, reason: 'there is another route' }
  const { upkeep, deltas, warnings } = upkeepOf(() => (isRefused ? [fault] : []))
  await upkeep.bringAbout(wanted(2))
  const shown = { node: 'node-1', prefix: networks.ipv4, reason: fault.reason }
  expect(upkeep.conflicts).toEqual([shown])
  await upkeep.repair()
  expect(warnings).toEqual(['a range is not routed'])
  isRefused = false
  await upkeep.repair()
  expect(upkeep.conflicts).toEqual([])
  await upkeep.repair()
  expect(deltas.map(({ addRoutes }) => addRoutes.length)).toEqual([2, 1, 1])
})

test('a range of which this node is the reserve is no reason to warn', async () => {
  const { upkeep, warnings, news } = upkeepOf()
  const range = '10.1.0.0/16'
  const nodes = [nodeOf(0, { advertise: [range] }), nodeOf(1, { advertise: [range] })]
  await upkeep.bringAbout(topology(nodes, place))
  const reason = 'node-0 claimed it before'
  expect(upkeep.conflicts).toEqual([{ node: 'node-1', prefix: range, reason, isReserve: true }])
  expect([warnings, news]).toEqual([[], ['this node stands in for who has a range']])
})

test('a device that fails once is told again', async () => {
  let fails = true
  const { upkeep, deltas } = upkeepOf(() => {
    if (fails) throw new Error('no')
    return []
  })
  await expect(upkeep.bringAbout(wanted(2))).rejects.toThrow('no')
  fails = false
  await upkeep.repair()
  expect(deltas.map(({ peers }) => peers.length)).toEqual([1, 1])
})
