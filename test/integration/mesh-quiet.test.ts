/**
 * A mesh in which nothing else happens: what a node says anew when it starts again, a range that
 * another one has, and a start on a disk without room.
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root } from '../harness/edge.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import { programsOn, ready, type Running, stop } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const edge = join(root, 'edge')
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-quiet-'))
const coordinatorState = join(folder, 'coordinator')

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const programs = programsOn(here)
const { start, run, end } = programs

const stateOf = (machine: number): string => join(folder, `node-${machine}`)

function up(machine: number, ...flags: readonly string[]): Running {
  const where = ['--coordinator', 'https://10.77.0.1:7443', '--mode', 'tun']
  const own = ['--name', `node-${machine}`, '--state', stateOf(machine)]
  return start(machine, edge, ['mesh', 'up', ...where, ...own, ...flags])
}

const missing = missingForMachines()
if (missing !== '') console.warn(`NOT RUN: the quiet mesh, because there is no ${missing} here`)
/** The story's next part. */
const story = test.runIf(missing === '')

let first: Running
let token = ''

beforeAll(async () => {
  if (missing !== '') return
  machines.all = makeMachines(`edge-quiet-${process.pid}`, 2)
  const listen = ['--listen', '10.77.0.1:7443', '--state', coordinatorState]
  await ready(start(1, edge, ['mesh', 'coordinator', ...listen]))
  const made = await run(1, 'mesh', 'token', '--state', coordinatorState, '--uses', '2')
  token = made.output.trim()
  first = up(1, '--token', token)
  await ready(first)
}, 60_000)

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

story('a range that another node has is told to who wants it', { timeout: 60_000 }, async () => {
  const range = ['--advertise', '10.30.0.0/16']
  expect(await stop(first)).toBe(0)
  first = up(1, ...range)
  await ready(first)
  const second = up(2, '--token', token, ...range)
  expect(await ready(second)).toMatch(/^ready name=node-2 /)
  const word = 'this node stands in for who has a range'
  await until('it says so', () => second.output().includes(word))
  expect(second.output()).toContain('node-1 claimed it before')
  expect(first.output()).not.toContain('stands in')
})

story('who starts again as a relay is one for the others', { timeout: 60_000 }, async () => {
  const relays = async () => (await programs.status(2, stateOf(2))).relays
  expect(await relays()).toEqual([])
  expect(await stop(first)).toBe(0)
  first = up(1, '--endpoint', '10.77.0.1:51820')
  await ready(first)
  await until('the other one knows', async () => (await relays()).includes('node-1'))
})

story(
  'without room on its disk and with half a table it starts as well',
  { timeout: 60_000 },
  async () => {
    expect(await stop(first)).toBe(0)
    writeFileSync(join(stateOf(1), 'view.json'), '{"version":')
    first = up(1, '--endpoint', '10.77.0.1:51820')
    // What it would write before it has a name goes where there is no room.
    for (const name of ['mode', 'names', 'view', 'membership', 'wireguard-keys']) {
      symlinkSync('/dev/full', join(stateOf(1), `${name}.json.${first.child.pid}`))
    }
    expect(await ready(first)).toMatch(/^ready name=node-1 /)
    expect(first.output()).toContain('the table of nodes cannot be read')
    await until('it is told', () => first.output().includes('the table of nodes is not written'))
    expect((await programs.status(1, stateOf(1))).coordinator.isConnected).toBe(true)
  },
)
