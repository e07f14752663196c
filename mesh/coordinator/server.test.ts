/** The API over real connections: who may ask, and what a stream tells. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent as Dispatcher, request } from 'undici'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CoordinatorClient, type StreamEvent } from '../client.ts'
import { MeshFault } from '../fault.ts'
import { type Identity, identityOf, signRecord } from '../identity.ts'
import { makeFolder } from '../folder.ts'
import { meshLimits } from '../limits.ts'
import { parseAdminKey, parseToken } from '../token.ts'
import { emptyView, type View, viewOf, withDelta } from '../view.ts'
import { type RunningCoordinator, startCoordinator } from './coordinator.ts'
import { type CoordinatorState, openState } from './state.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
let folder = ''
let state: CoordinatorState
let running: RunningCoordinator
let clients: CoordinatorClient[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-server-'))
  await start(0)
}, 60_000) // keys and certificates, beside other tests
afterEach(async () => {
  for (const client of clients) await client.close()
  clients = []
  await running.close()
  state.registry.close()
  rmSync(folder, { recursive: true })
})

async function start(port: number): Promise<void> {
  state = await openState(join(folder, 'coordinator'))
  running = await startCoordinator(state, { host: '127.0.0.1', port, log: quiet })
}

function token(uses = 1, labels: Readonly<Record<string, string>> = {}): string {
  const nowMs = Date.now()
  const order = { uses, expiresAtMs: nowMs + 60_000, labels, cidrs: [], nowMs }
  return state.registry.createToken({ pin: state.pin, ...order })
}

interface TestNode {
  readonly identity: Identity
  readonly client: CoordinatorClient
}

async function node(name: string, pin = state.pin): Promise<TestNode> {
  makeFolder(join(folder, name))
  const identity = await identityOf(join(folder, name))
  const client = new CoordinatorClient(running.address, pin, identity)
  clients.push(client)
  return { identity, client }
}

function joined(name: string, { identity, client }: TestNode, text: string) {
  const key = identity.wireguard.publicKey
  const record = { name, key, port: 1, endpoint: null, advertise: [], serial: 1 }
  return client.join(signRecord(identity, record), text)
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'fine'
  } catch (error) {
    return error instanceof MeshFault ? error.code : String(error)
  }
}

/** The next event that tells of nodes. */
async function next(events: AsyncGenerator<StreamEvent>): Promise<StreamEvent> {
  for (;;) {
    const { value, done } = await events.next()
    if (done === true) throw new Error('the stream ended')
    if (value.kind !== 'hello') return value
  }
}

function taken(view: View, event: StreamEvent): View {
  const found = event.kind === 'delta' ? withDelta(view, event.delta) : null
  if (found !== null) return found
  return viewAfter(event)
}

function viewAfter(event: StreamEvent): View {
  if (event.kind === 'snapshot') return viewOf(event.snapshot)
  throw new Error('no delta that fits')
}

test('a node joins, hears of others, and resumes after a restart without a snapshot', async () => {
  const many = token(2)
  const [a, b] = [await node('a'), await node('b')]
  expect((await joined('a', a, many)).networks).toEqual(state.registry.networks)
  const ending = new AbortController()
  const events = a.client.watch(emptyView, ending.signal)
  let view = taken(emptyView, await next(events))
  expect(view.entries.size).toBe(1)
  await a.client.report({ applied: view.version })
  await joined('b', b, many)
  const event = await next(events)
  expect(event).toMatchObject({ kind: 'delta', delta: { from: 1, to: 2, remove: [] } })
  view = taken(view, event)
  const { port } = new URL(running.address)
  await running.close()
  state.registry.close()
  await expect(next(events)).rejects.toThrow()
  // Whatever connection the client had left is seen to have ended.
  await expect(a.client.report({ applied: view.version })).rejects.toThrow()
  await start(Number(port))
  state.registry.revoke('b', Date.now())
  const resumed = a.client.watch(view, ending.signal)
  const [id] = [...view.entries.keys()].filter((one) => one !== a.identity.id)
  expect(await next(resumed)).toMatchObject({ kind: 'delta', delta: { from: 2, remove: [id] } })
  ending.abort()
  await expect(next(resumed)).rejects.toThrow()
})

test('a view that is not what the coordinator has gets a snapshot', async () => {
  const a = await node('a')
  await joined('a', a, token())
  const ending = new AbortController()
  const wrong = { ...emptyView, version: state.registry.version }
  const events = a.client.watch(wrong, ending.signal)
  const first = await next(events)
  expect(first).toMatchObject({ kind: 'snapshot', snapshot: { isPart: true } })
  expect(taken(viewAfter(first), await next(events)).hash).toBe(state.registry.hash)
  ending.abort()
  await expect(next(events)).rejects.toThrow()
})

test('who is not in the mesh hears nothing and changes nothing', async () => {
  const stranger = await node('stranger')
  const { signal } = new AbortController()
  expect(await codeOf(next(stranger.client.watch(emptyView, signal)))).toBe('NODE_UNKNOWN')
  expect(await codeOf(stranger.client.report({ applied: 1 }))).toBe('NODE_UNKNOWN')
  expect(await codeOf(joined('a', stranger, 'edge1.x'))).toBe('TOKEN_MALFORMED')
})

test('a record that another node signed does not get in', async () => {
  const [a, b] = [await node('a'), await node('b')]
  const mixed = { identity: b.identity, client: a.client }
  expect(await codeOf(joined('a', mixed, token()))).toBe('REQUEST_MALFORMED')
})

test('an agent talks only to the coordinator of its token', async () => {
  const other = parseToken(token())?.pin.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')) ?? ''
  const a = await node('a', other)
  expect(await codeOf(joined('a', a, token()))).toBe('COORDINATOR_OTHER')
  expect(state.registry.version).toBe(0)
})

test('a token is made from afar with the key of the coordinator, and with no other', async () => {
  const key = parseAdminKey(readFileSync(join(folder, 'coordinator/admin-key'), 'utf8'))
  if (key === null) throw new Error('no admin key')
  const afar = new CoordinatorClient(running.address, key.pin, null)
  clients.push(afar)
  const order = { uses: 1, lifeMs: 60_000, labels: { site: 'a' }, cidrs: ['10.1.0.0/16'] }
  const made = await afar.token(order, key)
  expect(await codeOf(joined('a', await node('a'), made))).toBe('fine')
  const other = { ...key, secret: Buffer.alloc(32, 7) }
  expect(await codeOf(afar.token(order, other))).toBe('ADMIN_KEY_WRONG')
  expect(await codeOf(afar.token({ ...order, uses: 0 }, key))).toBe('REQUEST_MALFORMED')
  expect(await codeOf(joined('b', { ...(await node('b')), client: afar }, made))).toBe(
    'IDENTITY_MISSING',
  )
})

test('a node that is removed loses its stream at once, and its identity for good', async () => {
  const many = token(9)
  const [a, b] = [await node('a'), await node('b')]
  await joined('a', a, many)
  await joined('b', b, many)
  const { signal } = new AbortController()
  const events = b.client.watch(emptyView, signal)
  const { version } = taken(emptyView, await next(events))
  state.registry.revoke('b', Date.now())
  // As by `edge mesh remove` beside it: another connection to the same file.
  const other = await openState(join(folder, 'coordinator'))
  other.registry.revoke('a', Date.now())
  other.registry.close()
  expect(await next(events)).toMatchObject({ delta: { remove: [b.identity.id, a.identity.id] } })
  await expect(next(events)).rejects.toThrow('the stream ended')
  for (const { client } of [a, b]) {
    expect(await codeOf(next(client.watch({ ...emptyView, version }, signal)))).toBe('NODE_REMOVED')
    expect(await codeOf(client.report({ applied: 1 }))).toBe('NODE_REMOVED')
  }
  expect(await codeOf(joined('b', b, many))).toBe('NODE_REMOVED')
})

test('an address whose joins are refused often is not listened to for a while', async () => {
  const a = await node('a')
  const codes = new Set<string>()
  for (let time = 0; time <= meshLimits.joinRefusalsPerMinuteMax; time += 1) {
    codes.add(await codeOf(joined('a', a, 'edge1.wrong')))
  }
  expect([...codes]).toEqual(['TOKEN_MALFORMED', 'JOIN_REFUSED_TOO_OFTEN'])
  expect(await codeOf(joined('a', a, token()))).toBe('JOIN_REFUSED_TOO_OFTEN')
})

test('a stream hears a word as often as its agent must, and when the next one comes', async () => {
  const a = await node('a')
  await joined('a', a, token())
  const { key, certificate: cert } = a.identity
  const dispatcher = new Dispatcher({ connect: { key, cert, rejectUnauthorized: false } })
  try {
    const watch = `${running.address}/v1/watch?from=0&hash=0`
    const told = async (more: string, last: RegExp) => {
      const { body } = await request(`${watch}${more}`, { dispatcher })
      let text = ''
      for await (const chunk of body) {
        text += String(chunk)
        if (last.test(text)) break
      }
      return text
    }
    const { pingIntervalMs, pingIntervalMsMax } = meshLimits
    expect(await told('', /hello/)).toContain(`"pingMs":${pingIntervalMs}`)
    const patient = await told(`&patience=${pingIntervalMsMax}`, /hello/)
    expect(patient).toContain(`"pingMs":${pingIntervalMs}`)
    expect(await told('&patience=1000', /event: ping\n.*\n\n/)).toContain(
      'event: ping\ndata: 1000\n',
    )
    expect((await request(`${watch}&patience=0`, { dispatcher })).statusCode).toBe(400)
  } finally {
    await dispatcher.destroy()
  }
})

test('metrics are for who has the admin key, health is for all', async () => {
  const key = readFileSync(join(folder, 'coordinator/admin-key'), 'utf8')
  const dispatcher = new Dispatcher({ connect: { rejectUnauthorized: false } })
  const ask = (path: string, headers: Record<string, string> = {}) =>
    request(`${running.address}${path}`, { dispatcher, headers })
  try {
    expect(await (await ask('/healthz')).body.json()).toMatchObject({ status: 'ok' })
    const refused = await ask('/metrics')
    expect(refused.statusCode).toBe(401)
    expect(refused.headers['www-authenticate']).toMatch(/^Basic /)
    const a = await node('a')
    await joined('a', a, token(1, { location: 'north' }))
    const key2 = Buffer.alloc(32, 2).toString('base64')
    const peer = { key: key2, lastHandshakeMs: 1_000, receivedBytes: 5, sentBytes: 7 }
    await a.client.report({ applied: 1, peers: [{ ...peer, path: 'relay' }] })
    const basic = Buffer.from(`admin:${key}`).toString('base64')
    for (const authorization of [`Bearer ${key}`, `Basic ${basic}`]) {
      const answer = await ask('/metrics', { authorization })
      const text = await answer.body.text()
      expect(text).toContain('\nedge_mesh_nodes 1\n')
      expect(text).toContain('\nedge_mesh_joins_total{result="joined"} 1\n')
      expect(text).toContain('\nedge_mesh_paths{path="relay"} 1\n')
      expect(text).toContain('\nedge_mesh_locations{leaders="0"} 1\n')
    }
  } finally {
    await dispatcher.close()
  }
})

test('the live page is for who has the admin key, and shows what agents tell', async () => {
  const many = token(2)
  const [a, b] = [await node('a'), await node('b')]
  await joined('a', a, many)
  await joined('b', b, many)
  const { publicKey: key } = b.identity.wireguard
  const peer = { key, lastHandshakeMs: 1_000, receivedBytes: 5, sentBytes: 7 }
  await a.client.report({ applied: 2, peers: [{ ...peer, path: 'direct' }] })
  const dispatcher = new Dispatcher({ connect: { rejectUnauthorized: false } })
  const admin = readFileSync(join(folder, 'coordinator/admin-key'), 'utf8')
  const headers = { authorization: `Bearer ${admin}` }
  try {
    for (const path of ['/', '/v1/mesh']) {
      expect((await request(`${running.address}${path}`, { dispatcher })).statusCode).toBe(401)
    }
    const page = await request(running.address, { dispatcher, headers })
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-[^;]*'; style-src 'sha256-/)
    const text = await page.body.text()
    expect(text).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/)
    for (const [name, directive] of [
      ['script', 'script-src'],
      ['style', 'style-src'],
    ] as const) {
      const inline = new RegExp(`<${name}>([^]*?)</${name}>`).exec(text)?.[1] ?? ''
      const hash = createHash('sha256').update(inline).digest('base64')
      expect(policy).toContain(`${directive} 'sha256-${hash}'`)
    }
    const answer = await request(`${running.address}/v1/mesh`, { dispatcher, headers })
    expect(await answer.body.json()).toMatchObject({
      nodes: [
        { name: 'a', reportedMs: expect.any(Number), location: null, isLeader: false },
        { name: 'b', reportedMs: null },
      ],
      links: [{ from: 0, to: 1, path: 'direct', bytes: 12 }],
      more: 0,
    })
  } finally {
    await dispatcher.close()
  }
})

test('a request beyond its bytes is refused', async () => {
  const a = await node('a')
  const huge = { record: 'x'.repeat(70_000), signature: '' }
  expect(await codeOf(a.client.join(huge, token()))).toContain('413')
})
