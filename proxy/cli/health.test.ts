/** `edge health` against servers on Unix sockets, as an `exec` probe asks them. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type AdminSource, type Check, adminServer, listenOn } from '../admin/server.ts'
import { UsageError } from '../config/faults.ts'
import { health } from './health.ts'

let folder = ''
let checks: readonly Check[] = []
const source: AdminSource = {
  config: () => ({}),
  reloads: () => ({}),
  events: () => Promise.resolve({ events: [], next: null }),
  event: () => Promise.resolve(null),
  metrics: () => Promise.resolve(''),
  routes: () => [],
  upstreams: () => Promise.resolve([]),
  ready: () => checks,
  started: () => [],
}
const server = () => adminServer(source)
let running: ReturnType<typeof server> | null = null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'health-'))
})
afterEach(async () => {
  await running?.close()
  running = null
  rmSync(folder, { recursive: true })
})

async function asked(args: readonly string[], env = {}) {
  const lines: string[] = []
  const add = (line: string): number => lines.push(line)
  const code = await health(args, { env, print: add, error: add })
  return { code, said: lines.join('\n') }
}

async function serving(): Promise<string> {
  const address = `unix:${join(folder, 'admin.sock')}`
  running = server()
  await listenOn(running, address)
  return address
}

test('a ready program is exit code 0; the address may come from the environment', async () => {
  checks = [{ name: 'rules', ok: true }]
  const address = await serving()
  expect(await asked(['--admin', address])).toEqual({ code: 0, said: 'ready' })
  expect(await asked([], { EDGE_ADMIN: address })).toEqual({ code: 0, said: 'ready' })
})

test('one that is not ready is exit code 1, and says why; it lives', async () => {
  checks = [
    { name: 'rules', ok: true },
    { name: 'workers', ok: false },
    { name: 'not-draining', ok: false },
  ]
  const address = await serving()
  const said = 'not ready: workers, not-draining'
  expect(await asked(['--admin', address])).toEqual({ code: 1, said })
  expect(await asked(['--admin', address, '--live'])).toEqual({ code: 0, said: 'alive' })
})

test('nobody there is exit code 1', async () => {
  const { code, said } = await asked(['--admin', `unix:${join(folder, 'none.sock')}`])
  expect(code).toBe(1)
  expect(said).toContain('not ready: ')
  expect(said).toContain('ENOENT')
})

test('without an address it is a usage error', async () => {
  await expect(asked([])).rejects.toThrow(UsageError)
  await expect(asked(['--admin', 'nonsense'])).rejects.toThrow('unix:PATH')
})

test('--h3 asks a URL over HTTP/3, and says when there is none', async () => {
  await expect(asked(['--h3', 'http://127.0.0.1/'])).rejects.toThrow('write https://HOST:PORT/PATH')
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  const { code, said } = await asked(['--h3', `https://127.0.0.1:${port}/`])
  expect(said).toContain(`no HTTP/3 at https://127.0.0.1:${port}/: `)
  expect(code).toBe(1)
})
