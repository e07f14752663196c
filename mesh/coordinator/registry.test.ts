import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MeshFault } from '../fault.ts'
import { type Candidate, Registry } from './registry.ts'
import { openState } from './state.ts'

const networks = { ipv4: '10.96.0.0/29', ipv6: 'fd00::/64' }
const nowMs = 1_000_000
let folder = ''
let registry: Registry

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-registry-'))
  registry = open()
})
afterEach(() => {
  registry.close()
  rmSync(folder, { recursive: true })
})

function open(): Registry {
  return new Registry(join(folder, 'test.sqlite'), networks)
}

function candidate(number: number, more: object = {}): Candidate {
  const key = Buffer.alloc(32, number).toString('base64')
  const name = `node-${number}`
  const record = { name, key, port: 1, endpoint: null, advertise: [], serial: 1, ...more }
  const signed = { record: JSON.stringify(record), signature: '' }
  return { identity: key, signed, record, observed: '192.0.2.1' }
}

function token(more: Partial<Parameters<Registry['createToken']>[0]> = {}): string {
  const order = { uses: 1, expiresAtMs: nowMs + 1, labels: {}, cidrs: [], nowMs }
  return registry.createToken({ pin: 'p'.repeat(43), ...order, ...more })
}

function code(work: () => unknown): string {
  try {
    work()
    return 'fine'
  } catch (error) {
    return error instanceof MeshFault ? error.code : String(error)
  }
}

test('a token lets in as often as it says, until it expires', () => {
  const once = token()
  expect(code(() => registry.join(candidate(1), once, nowMs))).toBe('fine')
  expect(code(() => registry.join(candidate(2), once, nowMs))).toBe('TOKEN_SPENT')
  expect(code(() => registry.join(candidate(2), token(), nowMs + 1))).toBe('TOKEN_EXPIRED')
  const other = token().replace(/^edge1\..{20}/, 'edge1.AAAAAAAAAAAAAAAAAAAA')
  expect(code(() => registry.join(candidate(2), other, nowMs))).toBe('TOKEN_UNKNOWN')
  expect(code(() => registry.join(candidate(2), 'x', nowMs))).toBe('TOKEN_MALFORMED')
  const twice = token({ uses: 2 })
  expect(code(() => registry.join(candidate(2), twice, nowMs))).toBe('fine')
  expect(code(() => registry.join(candidate(3), twice, nowMs))).toBe('fine')
})

test('a node whose answer was lost asks again with its spent token', () => {
  const once = token()
  const first = registry.join(candidate(1), once, nowMs)
  expect(registry.join(candidate(1), once, nowMs).addresses).toEqual(first.addresses)
  expect(registry.version).toBe(1)
})

test('what is refused spends nothing and changes nothing', () => {
  registry.join(candidate(1), token(), nowMs)
  const once = token({ cidrs: ['10.1.0.0/16'] })
  const join = (more: object) => code(() => registry.join(candidate(2, more), once, nowMs))
  expect(join({ name: 'node-1' })).toBe('NAME_TAKEN')
  expect(join({ key: candidate(1).record.key })).toBe('KEY_TAKEN')
  expect(join({ advertise: ['10.2.0.0/16'] })).toBe('CIDR_NOT_ALLOWED')
  expect(registry.version).toBe(1)
  expect(join({ advertise: ['10.1.7.0/24'] })).toBe('fine')
  const any = token()
  const own = () => registry.join(candidate(3, { advertise: ['10.96.0.0/30'] }), any, nowMs)
  expect(code(own)).toBe('CIDR_OVERLAPS')
})

test('addresses differ, and are refused when there are none left', () => {
  const many = token({ uses: 9 })
  const numbers = [1, 2, 3, 4, 5, 6]
  const addresses = numbers.flatMap((n) => registry.join(candidate(n), many, nowMs).addresses)
  expect(new Set(addresses).size).toBe(12)
  expect(code(() => registry.join(candidate(7), many, nowMs))).toBe('ADDRESSES_EXHAUSTED')
})

test('an older record does not replace a newer one', () => {
  const { id } = registry.join(candidate(1, { serial: 5 }), token(), nowMs)
  expect(code(() => registry.update(id, candidate(1, { serial: 4 })))).toBe('RECORD_OLD')
  expect(code(() => registry.update('other', candidate(2)))).toBe('NODE_UNKNOWN')
})

test('who was removed is not let in again, whatever its token', () => {
  const many = token({ uses: 9 })
  const { id } = registry.join(candidate(1), many, nowMs)
  registry.remove('node-1')
  expect(code(() => registry.join(candidate(1), many, nowMs))).toBe('fine')
  registry.revoke('node-1', nowMs)
  expect(registry.isRevoked(id)).toBe(true)
  expect(code(() => registry.join(candidate(1), many, nowMs))).toBe('NODE_REMOVED')
  // Its name and its addresses are free for another identity.
  const other = { ...candidate(2), record: { ...candidate(2).record, name: 'node-1' } }
  expect(code(() => registry.join(other, many, nowMs))).toBe('fine')
})

test('a removal by another program is seen', () => {
  registry.join(candidate(1), token(), nowMs)
  expect(registry.refresh()).toBe(false)
  const other = open()
  other.revoke('node-1', nowMs)
  expect(code(() => other.revoke('node-1', nowMs))).toBe('NODE_UNKNOWN')
  other.close()
  expect(registry.refresh()).toBe(true)
  expect(registry.snapshot().nodes).toEqual([])
})

test('two programs at one file give no address twice', () => {
  const other = open()
  const many = token({ uses: 9 })
  const addresses = [1, 2, 3, 4, 5, 6].flatMap((number) => {
    const one = number % 2 === 0 ? registry : other
    return one.join(candidate(number), many, nowMs).addresses
  })
  expect(new Set(addresses).size).toBe(12)
  other.close()
})

test('the files of a coordinator are for their owner alone', async () => {
  const state = await openState(join(folder, 'state'))
  state.registry.createToken({
    pin: state.pin,
    uses: 1,
    expiresAtMs: 1,
    labels: {},
    cidrs: [],
    nowMs: 0,
  })
  const mode = (name: string) => statSync(join(folder, 'state', name)).mode & 0o777
  const files = ['certificate.json', 'admin-key', 'coordinator.sqlite', 'coordinator.sqlite-wal']
  expect(files.map(mode)).toEqual([0o600, 0o600, 0o600, 0o600])
  state.registry.close()
  const again = await openState(join(folder, 'state'))
  expect([again.pin, again.registry.networks]).toEqual([state.pin, state.registry.networks])
  again.registry.close()
})

test('a token says where its nodes stand, and their records change nothing of it', () => {
  const labels = { location: 'north' }
  const { id } = registry.join(candidate(1), token({ labels }), nowMs)
  expect(registry.entry(id)?.location).toBe('north')
  expect(registry.entry(id)?.canLead).toBeUndefined()
  const bound = registry.join(candidate(2), token({ labels: { ...labels, leader: 'off' } }), nowMs)
  expect(bound).toMatchObject({ location: 'north', canLead: false })
  expect(registry.mark(id, { isLeader: true })).toBe(true)
  expect(registry.mark(id, { isLeader: true })).toBe(false)
  registry.update(id, candidate(1, { serial: 2, endpoint: '192.0.2.9:1' }))
  registry.close()
  registry = open()
  expect(registry.entry(id)).toMatchObject({ location: 'north', isLeader: true })
  expect(registry.mark(id, { isLeader: undefined })).toBe(true)
  expect(registry.entry(id)?.isLeader).toBeUndefined()
  expect(registry.mark('nobody', { isLeader: true })).toBe(false)
})
