import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import type { EdgeConfig } from './config/schema.ts'
import { neighbourKey, Neighbours } from './neighbours.ts'
import type { Acquaintance } from './wire-config.ts'

function pem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

function loaded(key: string, meet: string | null = 'edge-neighbours:8444', caFile = '') {
  const certificate = { chain: '', key, names: [], isDefault: true, certFile: '', notAfterMs: 0 }
  const neighbours = { listen: '0.0.0.0:8444', address: '10.0.0.5', meet }
  const quic: EdgeConfig['quic'] = { serverId: null, neighbours }
  return { config: { quic }, certificates: [certificate], caFile: caFile || null }
}

function started(addresses: () => readonly string[]) {
  const told: Acquaintance[] = []
  const lines: string[] = []
  const say = (...parts: unknown[]) => lines.push(String(parts.at(-1)))
  const neighbours = new Neighbours({
    setNeighbours: (acquaintance) => told.push(acquaintance),
    lookup: async () => ({ addresses: addresses(), ttlMs: null }),
    log: { info: say, warn: say },
  })
  return { neighbours, told, lines }
}

test('the key follows from the private key alone, however it is written', () => {
  const own = pem()
  expect(neighbourKey(own)).toBe(neighbourKey(`# a comment\n${own}\n`))
  expect(neighbourKey(own)).not.toBe(neighbourKey(pem()))
  expect(Buffer.from(neighbourKey(own), 'base64')).toHaveLength(32)
})

test('the wire is told the key and the addresses, and again when one of them changes', async () => {
  const { neighbours, told, lines } = started(() => ['10.96.0.7', 'fd00::7'])
  const [before, after] = [pem(), pem()]
  await neighbours.configure(loaded(before))
  await neighbours.configure(loaded(before))
  const meet = ['10.96.0.7:8444', '[fd00::7]:8444']
  expect(told).toEqual([{ key: neighbourKey(before), meet }])
  await neighbours.configure(loaded(after))
  await neighbours.configure(loaded(after, null))
  expect(told.slice(1)).toEqual([
    { key: neighbourKey(after), meet },
    { key: neighbourKey(after), meet: [] },
  ])
  expect(lines).toEqual([])
  neighbours.stop()
})

test('without a name that resolves the wire has the key at least, and it is told', async () => {
  const { neighbours, told, lines } = started(() => [])
  const key = pem()
  await neighbours.configure(loaded(key))
  expect(told).toEqual([{ key: neighbourKey(key), meet: [] }])
  expect(lines).toEqual(['the name of the neighbours does not resolve'])
  neighbours.stop()
})

test('a self-made certificate is said once', async () => {
  const { neighbours, lines } = started(() => ['10.96.0.7'])
  const own = loaded(pem(), undefined, '/state/tls/ca.pem')
  await neighbours.configure(own)
  await neighbours.configure(own)
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('only edges that share its key')
  neighbours.stop()
})

test('nothing is told where nobody listens', async () => {
  const { neighbours, told } = started(() => [])
  const { config, ...rest } = loaded(pem())
  const off = { ...config.quic.neighbours, listen: null }
  await neighbours.configure({ ...rest, config: { quic: { ...config.quic, neighbours: off } } })
  await neighbours.configure({ ...loaded(pem()), certificates: [] })
  expect(told).toEqual([])
})
