/** One device with the routes of its machine: what leads into itself is refused, nothing else. */
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DeviceDelta } from '../../mesh/reconcile.ts'
import { root } from '../harness/edge.ts'
import type { StepAnswer } from '../harness/mesh-device.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import { join } from 'node:path'

const missing = missingForMachines()
if (missing !== '') console.warn(`NOT RUN: a device, because there is no ${missing} here`)
const key = (number: number): string => Buffer.alloc(32, number).toString('base64')
let machines: Machines
let apply: (delta: Partial<DeviceDelta>) => Promise<StepAnswer['answer']>
let end: () => void

beforeAll(async () => {
  if (missing !== '') return
  machines = makeMachines(`edge-device-${process.pid}`, 1)
  const options = { interface: 'edge0', privateKey: key(1), port: 51_820, mtu: 1420, mark: 7 }
  const file = join(root, 'test/harness/mesh-device.ts')
  const child = machines.spawn(1, process.execPath, [file, JSON.stringify(options)])
  if (child.stdout === null) throw new Error('no output')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  expect((await lines.next()).value).toBe('ready')
  apply = async (delta) => {
    child.stdin?.write(`${JSON.stringify(delta)}\n`)
    return (JSON.parse(String((await lines.next()).value)) as StepAnswer).answer
  }
  end = () => child.kill('SIGKILL')
}, 60_000)

afterAll(() => {
  if (missing !== '') return
  end()
  machines.remove()
})

const story = test.runIf(missing === '')
const routes = (): string => machines.ip(1, 'route', 'show', 'dev', 'edge0')

story('a route that a better one of the machine leads out of is no loop', async () => {
  const endpoint = '10.77.0.9:51820'
  const peers = [{ publicKey: key(2), allowedIps: ['10.0.0.0/8'], endpoint }]
  expect(await apply({ peers, addRoutes: ['10.0.0.0/8'] })).toEqual([])
  expect(routes()).toContain('10.0.0.0/8')
})

story('a new endpoint inside a route takes that route away, and says so', async () => {
  const elsewhere = { publicKey: key(3), allowedIps: ['192.0.2.0/24'], endpoint: '10.99.0.1:51820' }
  const refused = await apply({ peers: [elsewhere], addRoutes: ['192.0.2.0/24'] })
  const reason = expect.stringContaining('10.99.0.1, where a peer is, lies inside 10.0.0.0/8')
  expect(refused).toEqual([{ network: '10.0.0.0/8', reason }])
  expect(routes()).not.toContain('10.0.0.0/8')
  expect(routes()).toContain('192.0.2.0/24')
})

story('a new route around an endpoint is refused', async () => {
  const refused = await apply({ addRoutes: ['10.99.0.0/16', '198.51.100.0/24'] })
  expect(refused.map(({ network }) => network)).toEqual(['10.99.0.0/16'])
  expect(routes()).toContain('198.51.100.0/24')
})
