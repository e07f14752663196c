/** Seed 000's contract, as its clients use it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CoordinatorClient } from '../client.ts'
import { passingIdentity, signRecord } from '../identity.ts'
import { type RunningCoordinator, startCoordinator } from './coordinator.ts'
import { type CoordinatorState, openState } from './state.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
const key = '0f'.repeat(32)
const keyOf = (number: number): string => Buffer.alloc(32, number).toString('base64')
let folder = ''
let state: CoordinatorState
let running: RunningCoordinator
let dispatcher: Agent

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-seed-'))
  state = await openState(folder)
  running = await startCoordinator(state, { host: '127.0.0.1', port: 0, log: quiet })
  state.registry.share(key)
  dispatcher = new Agent({ connect: { rejectUnauthorized: false } })
}, 60_000)
afterEach(async () => {
  await dispatcher.close()
  await running.close()
  state.registry.close()
  rmSync(folder, { recursive: true })
})

interface Ask {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly headers?: Record<string, string>
  readonly body?: object | string
}

async function ask(path: string, { method = 'GET', headers = {}, body }: Ask = {}) {
  const answer = await request(`${running.address}/api/v1${path}`, {
    dispatcher,
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await answer.body.text()
  const value = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
  return { status: answer.statusCode, value }
}

const shown = { 'x-presharedkey': key }

function register(number: number, more: object = {}, headers: Record<string, string> = shown) {
  const facts = { public_key: keyOf(number), platform: 'iot', device_name: `Device-${number}` }
  return ask('/device/register', { method: 'POST', headers, body: { ...facts, ...more } })
}

function raw(body: string, type = 'application/json') {
  const headers = { ...shown, 'content-type': type }
  return ask('/device/register', { method: 'POST', headers, body })
}

test('a device is told of relays, which answer STUN', async () => {
  const identity = await passingIdentity()
  const { publicKey } = identity.wireguard
  const endpoint = '203.0.113.5:51820'
  const record = { name: 'gateway', key: publicKey, port: 51_820, endpoint, advertise: [] }
  const signed = signRecord(identity, { ...record, serial: 1, candidates: [], isRelay: true })
  const client = new CoordinatorClient(running.address, state.pin, identity)
  const times = { nowMs: Date.now(), expiresAtMs: Date.now() + 60_000 }
  const token = state.registry.createToken({
    ...times,
    pin: state.pin,
    uses: 1,
    labels: {},
    cidrs: [],
  })
  await client.join(signed, token)
  await client.close()
  const { value } = await register(1)
  expect(value['stun_servers']).toEqual([`stun:${endpoint}`])
})

test('a device registers, and sees in its configuration who comes and goes', async () => {
  const first = await register(1)
  expect(first).toMatchObject({
    status: 201,
    value: { virtual_ip: expect.stringMatching(/^100\./), peers: [], turn_servers: [] },
  })
  // As the seed's server, and as its client says it.
  const second = await register(2, {}, { 'x-pre-shared-key': key })
  const third = await register(3, { device_name: undefined, name: 'x', pre_shared_key: key }, {})
  expect([second.status, third.status]).toEqual([201, 201])
  const place = `/device/${String(first.value['device_id'])}`
  const { value } = await ask(`${place}/config`, { headers: shown })
  const peer = (number: number, of: { value: Record<string, unknown> }) => ({
    device_id: of.value['device_id'],
    public_key: keyOf(number),
    virtual_ip: of.value['virtual_ip'],
    allowed_ips: [expect.stringContaining(String(of.value['virtual_ip'])), expect.any(String)],
    persistent_keepalive: 25,
  })
  expect(value['peers']).toEqual([peer(2, second), peer(3, third)])
  expect(value['stun_servers']).toEqual([])
  const admin = readFileSync(join(folder, 'admin-key'), 'utf8')
  const bearer = { authorization: `Bearer ${admin}` }
  const gone = `/device/${String(second.value['device_id'])}`
  expect((await ask(gone, { method: 'DELETE' })).status).toBe(403)
  expect((await ask(gone, { method: 'DELETE', headers: bearer })).status).toBe(204)
  expect((await ask(gone, { method: 'DELETE', headers: bearer })).status).toBe(404)
  const after = await ask(`${place}/config`, { headers: shown })
  expect(after.value['peers']).toEqual([peer(3, third)])
  const listed = await ask('/devices?platform=iot&limit=10', { headers: bearer })
  expect(listed.value).toMatchObject({ total: 2, devices: [{ device_name: 'device-1' }, {}] })
}, 60_000)

test('refusals have the status and the form of the contract', async () => {
  expect((await register(1)).status).toBe(201)
  const other = { 'x-presharedkey': 'ff'.repeat(32) }
  const cases: readonly (readonly [Awaited<ReturnType<typeof ask>>, number, string])[] = [
    [await register(2, {}, other), 401, 'TOKEN_UNKNOWN'],
    [await register(2, {}, { 'x-presharedkey': 'change-me-in-production' }), 401, 'TOKEN_UNKNOWN'],
    [await register(2, { public_key: 'short' }), 400, 'REQUEST_MALFORMED'],
    [await register(2, { device_name: 'a b' }), 400, 'REQUEST_MALFORMED'],
    [await register(2, { device_name: 'device-1' }), 409, 'NAME_TAKEN'],
    [await register(1, { device_name: 'other' }), 409, 'KEY_TAKEN'],
    [await ask('/device/none/config', { headers: shown }), 404, 'NODE_UNKNOWN'],
    [await ask('/device/none/config'), 401, 'TOKEN_UNKNOWN'],
    [await ask('/devices'), 403, 'ADMIN_KEY_WRONG'],
    [await raw('{'), 400, 'REQUEST_MALFORMED'],
    [await raw('{}', 'text/plain'), 400, 'REQUEST_MALFORMED'],
  ]
  for (const [{ status, value }, wanted, error] of cases) {
    expect(status).toBe(wanted)
    expect(value).toEqual({
      error,
      message: expect.any(String),
      details: { where: expect.any(String), mend: expect.any(String) },
    })
  }
}, 60_000)

test('metrics of a device are taken, and wrong ones refused', async () => {
  const [one, other] = [await register(1), await register(2)]
  const path = `/device/${String(one.value['device_id'])}/metrics`
  const session = { peer_device_id: other.value['device_id'], bytes_sent: 5 }
  const post = (body: object) => ask(path, { method: 'POST', headers: shown, body })
  expect((await post({ nat_type: 'unknown', sessions: [session] })).status).toBe(202)
  expect((await post({ sessions: [{ ...session, bytes_sent: -1 }] })).status).toBe(400)
}, 60_000)
