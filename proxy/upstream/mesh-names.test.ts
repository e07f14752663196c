import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeMode } from '../../mesh/dial.ts'
import { writeNames } from '../../mesh/names.ts'
import { endpointLookup } from './mesh-names.ts'
import { systemLookup } from './names.ts'
import { hostOfUrl, socketAddress } from './resolve.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-names-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a node of the mesh is found by the file of its agent, and follows it', async () => {
  const lookup = endpointLookup(folder)
  const host = hostOfUrl('mesh://node-b.example:8080')
  await expect(lookup(host)).rejects.toThrow('no agent was there yet')
  writeNames(folder, { 'node-b.example': ['100.96.0.1', 'fd00::1'] })
  expect(await lookup(host)).toEqual({ addresses: ['100.96.0.1', 'fd00::1'], ttlMs: 1_000 })
  writeNames(folder, { 'node-b.example': ['100.96.0.2'] })
  expect((await lookup(host)).addresses).toEqual(['100.96.0.2'])
})

test('a node is reached as its agent says, and that may change', async () => {
  const lookup = endpointLookup(folder)
  writeNames(folder, { b: ['100.96.0.1'] })
  writeMode(folder, 'netstack')
  expect(await lookup('mesh://b')).toMatchObject({ via: join(folder, 'dial.sock') })
  writeMode(folder, 'tun')
  expect(await lookup('mesh://b')).toEqual({ addresses: ['100.96.0.1'], ttlMs: 1_000 })
})

test('a name of the DNS stays one, and a mesh name has the port of its URL', async () => {
  expect((await endpointLookup(folder)('localhost')).addresses.length).toBeGreaterThan(0)
  expect(endpointLookup(null)).toBe(systemLookup)
  expect(socketAddress('fd00::1', 'mesh://node-b:8080')).toBe('[fd00::1]:8080')
})
