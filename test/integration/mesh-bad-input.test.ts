/**
 * What operators and machines get wrong, one after the other: each has a clear answer that says how
 * to mend it, and leaves everything as it was. What needs interfaces (a name or a port that is
 * taken, an MTU that does not fit) is in mesh.test.ts, among real ones.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CoordinatorClient } from '../../mesh/client.ts'
import { type RunningCoordinator, startCoordinator } from '../../mesh/coordinator/coordinator.ts'
import { type CoordinatorState, openState } from '../../mesh/coordinator/state.ts'
import { MeshFault } from '../../mesh/fault.ts'
import { passingIdentity, signRecord } from '../../mesh/identity.ts'
import { nodeOf } from '../../mesh/node.ts'
import { topology } from '../../mesh/topology.ts'
import { mesh } from '../../proxy/cli/mesh.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
let folder = ''
let state: CoordinatorState
let running: RunningCoordinator

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-bad-'))
  state = await openState(at('coordinator'))
  running = await startCoordinator(state, { host: '127.0.0.1', port: 0, log: quiet })
}, 60_000)
afterEach(async () => {
  await running.close()
  state.registry.close()
  rmSync(folder, { recursive: true })
})

const at = (name: string): string => join(folder, name)

interface TokenFacts {
  readonly uses?: number
  readonly lifeMs?: number
  readonly cidrs?: readonly string[]
}

function token({ uses = 1, lifeMs = 60_000, cidrs = [] }: TokenFacts = {}): string {
  const nowMs = Date.now()
  const order = { uses, labels: {}, cidrs, nowMs, expiresAtMs: nowMs + lifeMs, pin: state.pin }
  return state.registry.createToken(order)
}

async function command(...args: readonly string[]) {
  const output: string[] = []
  const add = (line: string): void => void output.push(line)
  const code = await mesh(args, { env: {}, print: add, error: add })
  return { code, output: output.join('\n') }
}

function joins(name: string, text: string, ...flags: readonly string[]) {
  const given = ['--coordinator', running.address, '--token', text, '--name', name]
  return command('join', ...given, '--state', at(name), ...flags)
}

/** It is refused in these words with a mend, at once, and nothing is different afterwards. */
async function expectRefused(
  attempt: () => Promise<{ readonly code: number; readonly output: string }>,
  ...words: readonly string[]
): Promise<void> {
  const { version } = state.registry
  const began = performance.now()
  const { code, output } = await attempt()
  expect(performance.now() - began).toBeLessThan(10_000)
  expect([code, output]).toEqual([1, expect.stringContaining('mend: ')])
  for (const word of words) expect(output).toContain(word)
  expect(state.registry.version).toBe(version)
}

test('a token that expired or was used does not let in, and leaves no membership', async () => {
  const once = token()
  expect((await joins('a', once)).code).toBe(0)
  await expectRefused(() => joins('b', once), '--token: it was used already')
  const short = token({ lifeMs: 1 })
  await expectRefused(() => joins('b', short), '--token: it expired at 20')
  await expectRefused(() => joins('b', 'edge1.nonsense'), '--token: it is not a token')
  expect(existsSync(join(at('b'), 'membership.json'))).toBe(false)
  expect((await joins('b', token())).code).toBe(0)
}, 60_000)

test('ranges that overlap are told of, one by one, and the rest of both nodes works', async () => {
  const many = token({ uses: 9, cidrs: ['10.0.0.0/8'] })
  const own = state.registry.networks.ipv4
  await expectRefused(() => joins('a', token(), '--advertise', own), 'overlaps the addresses of')
  await expectRefused(() => joins('a', many, '--advertise', '11.0.0.0/8'), 'does not allow 11.')
  rmSync(at('a'), { recursive: true, force: true })
  expect((await joins('a', many, '--advertise', '10.1.0.0/16')).code).toBe(0)
  const both = ['--advertise', '10.1.0.0/16', '--advertise', '10.2.0.0/16']
  expect((await joins('b', many, ...both)).code).toBe(0)
  const nodes = state.registry.snapshot().nodes.flatMap((entry) => nodeOf(entry) ?? [])
  const { networks } = state.registry
  const place = { self: '', networks, outside: [], isBehindNat: false }
  const { conflicts, routes } = topology(nodes, place)
  const reason = 'a claimed it before'
  expect(conflicts).toEqual([{ node: 'b', prefix: '10.1.0.0/16', reason, isReserve: true }])
  expect(routes).toContain('10.2.0.0/16')
}, 60_000)

test('a name, a key or an address that another node has is not given twice', async () => {
  const many = token({ uses: 9 })
  expect((await joins('a', many)).code).toBe(0)
  const again = ['--coordinator', running.address, '--token', many, '--state', at('other')]
  await expectRefused(() => command('join', ...again, '--name', 'a'), 'another node is called a')
  // A folder that was copied to another machine, with another identity in it.
  const mixed = { ...identityIn('other'), wireguardKey: identityIn('a').wireguardKey }
  writeFileSync(join(at('other'), 'identity.json'), JSON.stringify(mixed))
  cpSync(join(at('a'), 'wireguard-keys.json'), join(at('other'), 'wireguard-keys.json'))
  await expectRefused(() => command('join', ...again, '--name', 'b'), 'the same WireGuard key')
  const { nodes } = state.registry.snapshot()
  const [first] = nodes.flatMap((entry) => nodeOf(entry) ?? [])
  if (first === undefined) throw new Error('there is no node')
  const twin = { ...first, id: 'twin', name: 'twin', key: 'other', since: first.since + 1 }
  const { networks } = state.registry
  const place = { self: '', networks, outside: [], isBehindNat: false }
  const { peers, conflicts } = topology([first, twin], place)
  expect([...peers.keys()]).toEqual([first.key])
  expect(conflicts.map(({ node, reason }) => [node, reason])).toEqual([
    ['twin', 'a claimed it before'],
    ['twin', 'a claimed it before'],
  ])
}, 60_000)

function identityIn(name: string): { wireguardKey: string } {
  return JSON.parse(readFileSync(join(at(name), 'identity.json'), 'utf8')) as {
    wireguardKey: string
  }
}

test('a key of a wrong length is refused where it is read, and where it arrives', async () => {
  const identity = await passingIdentity()
  const client = new CoordinatorClient(running.address, state.pin, identity)
  const key = Buffer.alloc(31, 1).toString('base64')
  const record = { name: 'a', key, port: 1, endpoint: null, advertise: [], serial: 1 }
  const refusal = await client.join(signRecord(identity, record), token()).catch((e: unknown) => e)
  await client.close()
  expect(refusal).toBeInstanceOf(MeshFault)
  expect(String(refusal)).toContain('key: not a WireGuard public key: 32 bytes in base64')
  expect(state.registry.count).toBe(0)

  expect((await joins('b', token())).code).toBe(0)
  cpSync(at('b'), at('c'), { recursive: true })
  rmSync(join(at('c'), 'membership.json'))
  const broken = { ...identityIn('c'), wireguardKey: key }
  writeFileSync(join(at('c'), 'identity.json'), JSON.stringify(broken))
  await expectRefused(() => joins('c', token()), 'identity.json: it does not hold what the mesh')
}, 60_000)

test('a clock that is off by an hour breaks nothing, and the doctor tells of it', async () => {
  const { key, certificate } = state
  const late = createServer({ key, cert: certificate }, (_request, response) => {
    response.setHeader('date', new Date(Date.now() - 3_600_000).toUTCString()).end('{}')
  })
  const url = await listening(late)
  const { output } = await command('doctor', '--state', at('x'), '--coordinator', url, '--json')
  late.close()
  const { checks } = JSON.parse(output) as { checks: { what: string; result: string }[] }
  expect(checks.find(({ what }) => what === 'clock')).toMatchObject({
    result: 'warn',
    found: expect.stringMatching(/^(?:3599|3600|3601) s ahead of the coordinator's/),
  })
  // A record of the future is one like any other; the next counts on from it.
  const identity = await passingIdentity()
  const client = new CoordinatorClient(running.address, state.pin, identity)
  const record = (serial: number) => {
    const { publicKey } = identity.wireguard
    const facts = { name: 'a', key: publicKey, port: 1, endpoint: null, advertise: [], serial }
    return signRecord(identity, facts)
  }
  const ahead = Date.now() + 3_600_000
  await client.join(record(ahead), token())
  await client.update(record(ahead + 1))
  const refused = await client.update(record(Date.now())).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: 'RECORD_OLD' })
  await client.close()
}, 60_000)

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
}
