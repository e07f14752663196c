/**
 * The coordinator is away for an hour, under traffic: real programs and packets, whose clocks go a
 * hundred times as fast while it lasts (fast-clock.ts).
 */
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { meshLimits } from '../../mesh/limits.ts'
import type { MeshStatus } from '../../mesh/status.ts'
import { root } from '../harness/edge.ts'
import { type Machines, makeMachines, missingForMachines } from '../harness/namespaces.ts'
import type { FlowResult } from '../harness/mesh-probe.ts'
import { Probe } from '../harness/probes.ts'
import { programsOn, ready, type Running } from '../harness/programs.ts'
import { until } from '../harness/wait.ts'

const hourMs = 3_600_000
const fast = 120
const edge = join(root, 'edge')
const machines: { all: Machines | null } = { all: null }
const folder = mkdtempSync(join(tmpdir(), 'mesh-hour-'))
const speedFile = join(folder, 'speed')
const coordinatorState = join(folder, 'coordinator')
const names = ['a', 'b'] as const

function here(): Machines {
  if (machines.all === null) throw new Error('there are no machines')
  return machines.all
}

const { start, run, end } = programsOn(here)

/** A program of ours whose clock the test sets. */
function startEdge(machine: number, ...args: readonly string[]): Running {
  const clock = `NODE_OPTIONS=--import=${join(root, 'test/harness/fast-clock.ts')}`
  return start(machine, 'env', [clock, `EDGE_TEST_SPEED=${speedFile}`, edge, 'mesh', ...args])
}

function startCoordinator(): Running {
  return startEdge(1, 'coordinator', '--listen', '[::]:7443', '--state', coordinatorState)
}

const stateOf = (machine: number): string => join(folder, names[machine - 1] ?? '')

function up(machine: number, ...flags: readonly string[]): Running {
  const where = ['--coordinator', 'https://10.77.0.1:7443', '--mode', 'tun']
  const name = names[machine - 1] ?? ''
  return startEdge(machine, 'up', ...where, '--name', name, '--state', stateOf(machine), ...flags)
}

async function status(machine: number): Promise<MeshStatus> {
  const { output } = await run(machine, 'mesh', 'status', '--json', '--state', stateOf(machine))
  return JSON.parse(output) as MeshStatus
}

const missing = missingForMachines()
if (missing !== '') console.warn(`NOT RUN: the hour, because there is no ${missing} here`)

beforeAll(() => {
  writeFileSync(speedFile, '1')
  if (missing === '') machines.all = makeMachines(`edge-hour-${process.pid}`, 2)
})

afterAll(async () => {
  await end()
  machines.all?.remove()
  rmSync(folder, { recursive: true, force: true })
})

/** The change of the key is due that much later. */
function dueIn(machine: number, ms: number): void {
  const file = join(stateOf(machine), 'wireguard-keys.json')
  const keys = JSON.parse(readFileSync(file, 'utf8')) as { sinceMs: number }
  const sinceMs = Date.now() - meshLimits.rotationIntervalMs + ms
  writeFileSync(file, JSON.stringify({ ...keys, sinceMs }))
}

async function token(): Promise<string> {
  const { code, output } = await run(1, 'mesh', 'token', '--state', coordinatorState)
  expect(code, output).toBe(0)
  return output.trim()
}

test.runIf(missing === '')(
  'an hour without a coordinator loses nothing, and ends by itself',
  { timeout: 300_000 },
  async () => {
    let coordinator = startCoordinator()
    await ready(coordinator)
    const first = up(1, '--token', await token())
    await ready(first)
    const joining = up(2, '--token', await token())
    const [, address = ''] = /addresses=([^,\s]+)/.exec(await ready(joining)) ?? []
    joining.child.kill('SIGTERM')
    await joining.ended
    // In the middle of the hour the second node would change its key.
    dueIn(2, hourMs / 2)
    const second = up(2)
    await ready(second)
    const [probe, answering] = [new Probe(start, 1, 'a'), new Probe(start, 2, 'b')]
    await Promise.all([probe.begin(), answering.begin()])
    const took = await probe.ask({ ask: 'ping', address, timeoutMs: 15_000 })
    expect(took).not.toBeNull()
    await until(
      'both are connected',
      async () => {
        const both = await Promise.all([status(1), status(2)])
        return both.every((one) => one.coordinator.isConnected)
      },
      60_000,
    )

    await probe.ask({ ask: 'begin', address, intervalMs: 5 })
    coordinator.child.kill('SIGKILL')
    await coordinator.ended
    writeFileSync(speedFile, String(fast))
    await sleep((hourMs + 60_000) / fast)
    writeFileSync(speedFile, '1')
    for (const agent of [first, second]) {
      expect(agent.output()).toContain('the mesh stays as it is')
    }
    // It began, as it was due, and waits: nobody could be told of the key.
    expect(second.output()).toContain('the change of the key has to wait')
    expect(second.output()).not.toContain('the next key is in use')
    expect((await status(2)).coordinator.isConnected).toBe(false)

    coordinator = startCoordinator()
    await ready(coordinator)
    for (const machine of [1, 2]) {
      const isBack = async () => (await status(machine)).coordinator.isConnected
      await until(`${names[machine - 1]} is back`, isBack, 60_000)
    }
    await until(second.output, () => second.output().includes('the next key is in use'), 60_000)
    await sleep(1_000)
    const flow = (await probe.ask({ ask: 'end' })) as FlowResult
    expect(flow.sent).toBeGreaterThan(1_000)
    expect(flow.lost).toBe(0)

    // What could have run out meanwhile has no end: both ends know each other by their keys.
    const { certificate } = JSON.parse(readFileSync(join(stateOf(1), 'identity.json'), 'utf8')) as {
      certificate: string
    }
    expect(new X509Certificate(certificate).validTo).toContain('9999')
  },
)
