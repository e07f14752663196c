/** One device with the routes of its machine: what leads into itself is refused, nothing else. */
import { spawnSync } from 'node:child_process'
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
const file = join(root, 'test/harness/mesh-device.ts')
const options = { interface: 'edge0', privateKey: key(1), port: 51_820, mtu: 1420, mark: 7 }
let machines: Machines
let apply: (delta: Partial<DeviceDelta>) => Promise<StepAnswer['answer']>
let end: () => void

beforeAll(async () => {
  if (missing !== '') return
  machines = makeMachines(`edge-device-${process.pid}`, 1)
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

/** Whether this kernel has WireGuard; whatever is made to see it goes again. */
function hasKernelWireguard(): boolean {
  try {
    machines.ip(1, 'link', 'add', 'try0', 'type', 'wireguard')
    machines.ip(1, 'link', 'delete', 'try0')
    return true
  } catch {
    return false
  }
}

/** What a device of the kernel comes to, as root or as nobody. */
function openKernel(...before: readonly string[]) {
  const wanted = JSON.stringify({ ...options, mode: 'kernel', interface: 'edge1', port: 51_821 })
  const command = [...before, process.execPath, file, wanted]
  return spawnSync('ip', ['netns', 'exec', machines.names[0] ?? '', ...command], {
    encoding: 'utf8',
    timeout: 60_000,
  })
}

story('a device of the kernel is refused in one sentence where it has none', () => {
  const wanted = hasKernelWireguard()
    ? { status: 0, stdout: 'ready\n' }
    : { stderr: expect.stringContaining('the kernel of this machine has no WireGuard') }
  expect(openKernel()).toMatchObject(wanted)
  expect(machines.ip(1, 'link')).not.toContain('edge1')
})

story('and where this user may not have one', () => {
  const nobody = ['setpriv', '--reuid=65534', '--clear-groups', '--bounding-set=-all']
  const said = expect.stringContaining('the system does not permit it')
  expect(openKernel(...nobody)).toMatchObject({ status: 1, stderr: said })
  expect(machines.ip(1, 'link')).not.toContain('edge1')
})
