/** Nodes of the mesh as agents: their ranges, their names, and what is outside. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { Entry } from '../entry.ts'
import { passingIdentity, signRecord } from '../identity.ts'
import { writeSecret } from '../folder.ts'
import { viewFile, writeMembership } from '../memory.ts'
import { parsePrefix } from '../prefix.ts'
import { followRoutes } from './routes.ts'
import { AgentTable } from './table.ts'

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
const networks = { ipv4: '10.96.0.0/16', ipv6: 'fd00::/64' }
const waitMs = { timeout: 15_000, interval: 20 }

async function entry(name: string, advertise: string[]): Promise<Entry> {
  const own = await passingIdentity()
  const { publicKey: key } = own.wireguard
  const record = { name, key, port: 51_820, endpoint: null, advertise, serial: 1 }
  const { id, identity } = own
  // This machine's own, so that a name leads here.
  const addresses = ['127.0.0.1']
  return { id, identity, addresses, observed: null, since: 1, ...signRecord(own, record) }
}

test('ranges and names of nodes are reached while the nodes are in the mesh', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-routes-'))
  const ending = new AbortController()
  const backend = createServer((socket) => socket.end('hello'))
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  const { port } = backend.address() as AddressInfo
  writeMembership(folder, { url: 'https://h:1', pin: 'p', id: 'i', name: 'gateway', networks })
  const write = (...nodes: Entry[]): void =>
    writeSecret(folder, viewFile, JSON.stringify({ version: 1, hash: '', nodes }))
  write(await entry('far', ['127.0.0.0/24']))
  const table = new AgentTable()
  const podCidrs = ['127.0.0.0/30'].flatMap((text) => parsePrefix(text) ?? [])
  const following = followRoutes(table, { folder, podCidrs, log }, ending.signal)
  try {
    await vi.waitFor(() => expect(table.names).toEqual(['far']), waitMs)
    for (const host of ['127.0.0.1', 'far', 'FAR']) {
      const stream = await table.open(host, port)
      const [chunk] = (await once(stream, 'data')) as [Buffer]
      expect(chunk.toString()).toBe('hello')
      stream.destroy()
    }
    await expect(table.open('127.0.0.9', port)).rejects.toMatchObject({ code: 'TARGET_OUTSIDE' })
    await expect(table.open('10.9.9.9', port)).rejects.toMatchObject({ code: 'AGENT_MISSING' })
    backend.close()
    await expect(table.open('far', port)).rejects.toMatchObject({ status: 502 })
    write()
    await vi.waitFor(() => expect(table.names).toEqual([]), waitMs)
    await expect(table.open('far', port)).rejects.toMatchObject({ code: 'AGENT_GONE' })
  } finally {
    ending.abort()
    await following
    backend.close()
    rmSync(folder, { recursive: true })
  }
})
