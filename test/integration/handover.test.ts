/** A successor on the same ports: nobody's connection is refused or reset on the way. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { freePort, root } from '../harness/edge.ts'
import { startLoad } from '../harness/load.ts'
import { metric, until } from '../harness/wait.ts'

// The long form (EDGE_TEST_LONG=1) is the one of the acceptance.
const handovers = process.env['EDGE_TEST_LONG'] === '1' ? 20 : 3

let folder = ''
const running = new Set<ChildProcess>()
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-handover-'))
})
afterEach(async () => {
  for (const child of running) {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    // oxlint-disable-next-line no-await-in-loop
    await ended
  }
  rmSync(folder, { recursive: true, force: true })
})

interface Generation {
  readonly child: ChildProcess
  readonly output: () => string
}

async function generation(args: readonly string[]): Promise<Generation> {
  const environment = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe']
  const child = spawn(join(root, 'edge'), ['run', ...args], {
    cwd: folder,
    env: environment,
    stdio,
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  }
  await until('ready', () => {
    if (child.exitCode !== null) throw new Error(`edge ended with ${child.exitCode}:\n${text}`)
    return /^ready /m.test(text)
  })
  return { child, output: () => text }
}

test(`${handovers} handovers under load lose no request and no connection`, async () => {
  const backend = await startBackend()
  const [http, https, status] = [await freePort(), await freePort(), await freePort()]
  const ports = ['--http', `127.0.0.1:${http}`, '--https', `127.0.0.1:${https}`]
  const shared = ['--shared-ports', '--drain-mode', 'handover', '--no-redirect', '--waf', 'off']
  const args = [...ports, '--status', `127.0.0.1:${status}`, '--backend', backend.url, ...shared]
  let current = await generation(args)
  const load = startLoad([`http://127.0.0.1:${http}/`, `https://127.0.0.1:${https}/`])
  for (let round = 0; round < handovers; round += 1) {
    // Another number of threads each time: the listeners are shared out anew.
    const threads = ['--wire-threads', String((round % 3) + 1)]
    const next = await generation([...args, ...threads])
    const ended = once(current.child, 'exit')
    current.child.kill('SIGTERM')
    const [code] = (await ended) as [number | null]
    expect(code).toBe(0)
    current = next
    const before = load.succeeded
    await until('requests go on', () => load.succeeded > before + 20)
  }
  const result = await load.stop()
  expect(result.failures).toEqual([])
  expect(result.succeeded).toBe(result.started)
  expect(result.started).toBeGreaterThan(100)
  expect(await metric(status, 'edge_wire_panics_total')).toBe(0)
  backend.close()
}, 240_000)

test('without shared ports a second program is refused, with the reason', async () => {
  const port = await freePort()
  const args = ['--http', `127.0.0.1:${port}`, '--https', 'off', '--waf', 'off']
  await generation(args)
  await expect(generation(args)).rejects.toThrow(`cannot listen on 127.0.0.1:${port}: EADDRINUSE`)
}, 60_000)
