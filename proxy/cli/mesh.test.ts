import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseToken } from '../../mesh/token.ts'
import { UsageError } from '../config/faults.ts'
import { startCoordinator } from '../../mesh/coordinator/coordinator.ts'
import { openState } from '../../mesh/coordinator/state.ts'
import type { Command } from './commands.ts'
import { edgelinkLite } from './edgelink-lite.ts'
import { mesh } from './mesh.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-cli-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function run(...args: readonly string[]) {
  return runWith({}, mesh, args)
}

async function runWith(env: Record<string, string>, command: Command, args: readonly string[]) {
  const output: string[] = []
  const add = (line: string): void => void output.push(line)
  const code = await command(args, { env, print: add, error: add })
  return { code, output: output.join('\n') }
}

const up = ['up', '--coordinator', 'https://h:1', '--name', 'n', '--state', 's', '--token', 't']
const api = ['--server', 'https://h:1', '--namespace', 'n']
const bare = ['coordinator', '--listen', '127.0.0.1:0', '--state', 's', '--kubernetes']
const cluster = [...bare, ...api, '--account', 'a']
const agent = ['--proxy-server-host', 'h', '--agent-identifiers', 'host=h']
const wrong = [
  [['stauts'], 'no command "stauts"', 'did you mean status?'],
  [['token'], 'edge mesh token: give either --state or --coordinator'],
  [['token', '--coordinator', 'https://h:1'], 'EDGE_MESH_ADMIN_KEY: not given'],
  [
    ['token', '--coordinator', 'https://h:1', '--admin-key', '/dev/null'],
    '--admin-key: no admin key',
  ],
  [['token', '--coordinator', 'http://h:1'], '--coordinator: "http://h:1" is not https://HOST'],
  [['token', '--state', 's', '--uses', '0'], '--uses: "0" is not a number from 1 to 100000'],
  [['token', '--state', 's', '--expires', '1y'], '--expires: "1y" is not a time up to 366d'],
  [['token', '--state', 's', '--expires', '400d'], '--expires: "400d"'],
  [['token', '--state', 's', '--label', 'site'], '--label: "site" is not KEY=VALUE'],
  [['token', '--state', 's', '--cidr', '10.0.0.1/8'], '--cidr: "10.0.0.1/8" is no CIDR'],
  [['coordinator', '--listen', 'here', '--state', 's'], '--listen: "here" is not ADDRESS:PORT'],
  [['export', '--state', 's'], '--name is missing'],
  [['export', '--name', 'p', '--format', 'svg'], '--format: "svg" is none of wg-quick, qr, json'],
  [['token', '--state', 's', '--psk-file', '/dev/null'], '--psk-file: it does not hold 64 hex'],
  [[...bare, '--server', 'h'], '--server: "h" is not http(s)://HOST:PORT'],
  [[...bare, ...api], '--account: name the ServiceAccount'],
  [[...cluster, '--network', '10.0.0.0/8'], '--network: write it twice, for IPv4 and for IPv6'],
  [[...up, '--pin-file', 'p'], '--token-file and --pin-file belong together'],
  [['gateway', '--listen', 'here'], '--listen: "here" is neither ADDR:PORT nor unix:PATH'],
  [['gateway', '--agents', '0.0.0.0:0'], '--agents: whoever reaches', 'give a --secret-file'],
  [['gateway', '--secret-file', '/dev/null'], '--secret-file: the file is empty'],
  [['gateway', '--pod-cidr', '10.0.0.0/8,10.1'], '--pod-cidr: "10.1" is no CIDR'],
  [['gateway-agent', '--proxy-server-host', 'h'], '--agent-identifiers is missing'],
  [['gateway-agent', ...agent, '--proxy-server-port', 'x'], '--proxy-server-port: "x" is no port'],
  [['remove', '--state', 's'], 'edge mesh remove NAME'],
  [[...up, '--coordinator', 'http://h:1'], '--coordinator: "http://h:1" is not https://HOST:PORT'],
  [[...up, '--name', 'a b'], '--name: "a b" is no name'],
  [[...up, '--mode', 'bridge'], '--mode: "bridge" is none of auto, kernel, tun, netstack'],
  [[...up, '--default-route', 'a b'], '--default-route: "a b" is not a node name'],
  [[...up, '--port', '70000'], '--port: "70000" is not a number from 1 to 65535'],
  [[...up, '--mtu', '9000'], '--mtu: "9000" is not a number from 1280 to 4000'],
  [[...up, '--advertise', '10.0.0.0'], '--advertise: "10.0.0.0" is no CIDR'],
  [[...up, '--relay', 'on'], '--relay: "on" is none of auto, off'],
  [[...up, '--relay-tcp', '0'], '--relay-tcp: "0" is not a number from 1 to 65535'],
  [[...up, '--endpoint', 'host:1'], '--endpoint: "host:1" is not ADDRESS:PORT'],
] as const
for (const [args, ...texts] of wrong)
  test(`edge mesh ${args.join(' ')} is refused: ${texts[0]}`, { timeout: 60_000 }, async () => {
    const refusal = await run(...args).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(UsageError)
    for (const text of texts) expect(String(refusal)).toContain(text)
  })

test('a token is printed before the coordinator ever ran, for the one that will', async () => {
  const made = await run('token', '--state', folder, '--cidr', '10.1.0.0/16', '--label', 'a=b')
  expect(made.code).toBe(0)
  const again = await run('token', '--state', folder)
  expect(parseToken(made.output)?.pin).toBe(parseToken(again.output)?.pin)
})

test('a device that is no agent gets a configuration with every node, once', async () => {
  const first = await run('export', '--name', 'phone', '--state', folder)
  expect(first.output).toMatch(/^# phone, [^]*\[Interface\]\nPrivateKey = .{44}\nAddress = 100\./)
  const again = await run('export', '--name', 'phone', '--state', folder)
  expect([again.code, again.output]).toEqual([1, expect.stringContaining('is called phone')])
  const router = await run('export', '--name', 'router', '--state', folder, '--format', 'json')
  const { peers, addresses } = JSON.parse(router.output) as { peers: object[]; addresses: string[] }
  expect(addresses).toHaveLength(2)
  const allowedIps = [expect.stringMatching(/^100\..*\/32$/), expect.stringMatching(/^fd.*\/128$/)]
  expect(peers).toMatchObject([{ name: 'phone', allowedIps, endpoint: null, keepaliveS: 25 }])
})

test('a node that is not there is not removed', async () => {
  const { code, output } = await run('remove', 'node-x', '--state', folder)
  expect([code, output]).toEqual([1, expect.stringContaining('no node with this name\n  mend: ')])
})

test('without an agent the status is that nothing is connected', async () => {
  const { code, output } = await run('status', '--state', folder)
  expect([code, output]).toEqual([3, expect.stringContaining('not connected: no agent runs')])
})

test('a phone gets a QR code; one that has no room in it lets nobody in', async () => {
  const { code, output } = await run(
    'export',
    '--name',
    'phone',
    '--state',
    folder,
    '--format',
    'qr',
  )
  expect(code).toBe(0)
  expect(output.split('\n').every((line) => line.startsWith('\u001B[97;40m'))).toBe(true)
  for (let number = 0; number < 16; number += 1) {
    await run('export', '--name', `router-${number}`, '--state', folder)
  }
  const full = await run('export', '--name', 'tablet', '--state', folder, '--format', 'qr')
  expect([full.code, full.output]).toEqual([1, expect.stringContaining('2953 bytes')])
  expect((await run('remove', 'tablet', '--state', folder)).output).toContain('no node with this')
}, 60_000)

const key = 'a1'.repeat(32)
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

async function withCoordinator(work: (url: string) => Promise<void>): Promise<void> {
  const state = await openState(join(folder, 'coordinator'))
  const running = await startCoordinator(state, { host: '127.0.0.1', port: 0, log: quiet })
  try {
    await work(running.address)
  } finally {
    await running.close()
    state.registry.close()
  }
}

test('a node joins by command, and by the environment and pre-shared key of seed 000', async () => {
  const state = ['--state', join(folder, 'coordinator')]
  await withCoordinator(async (url) => {
    const node = ['join', '--state', join(folder, 'a')]
    const made = (await run('token', ...state)).output
    const joined = await run(...node, '--coordinator', url, '--token', made, '--name', 'a')
    expect(joined).toEqual({ code: 0, output: expect.stringMatching(/^joined name=a id=\w{32}$/) })
    expect(await run(...node)).toEqual(joined)
    const other = await run(...node, '--name', 'b')
    expect([other.code, other.output]).toEqual([1, expect.stringContaining('the node a')])

    const env = { EDGELINK_SERVER: url, EDGELINK_PSK: key, EDGELINK_DEVICE_NAME: 'seed' }
    const seed = ['join', '--state', join(folder, 'seed')]
    const unknown = await runWith(env, mesh, seed)
    expect([unknown.code, unknown.output]).toEqual([1, expect.stringContaining('pre-shared key')])
    writeFileSync(join(folder, 'psk'), `${key}\n`)
    const shared = await run('token', ...state, '--psk-file', join(folder, 'psk'))
    expect(shared).toEqual({ code: 0, output: expect.stringContaining('warning: ') })
    for (const name of ['one', 'two']) {
      const args = ['--register', '--name', name, '--state', join(folder, name)]
      const { output } = await runWith(env, edgelinkLite, args)
      expect(output).toContain(`joined name=${name} `)
    }
    // Another key takes its place.
    writeFileSync(join(folder, 'psk'), 'b2'.repeat(32))
    await run('token', ...state, '--psk-file', join(folder, 'psk'))
    expect((await runWith(env, mesh, seed)).code).toBe(1)
  })
}, 60_000)

test('the doctor says what stands in the way, also for programs', async () => {
  await withCoordinator(async (url) => {
    const found = await run('doctor', '--state', folder, '--coordinator', url, '--json')
    const { checks } = JSON.parse(found.output) as { checks: { what: string; result: string }[] }
    const results = new Map(checks.map(({ what, result }) => [what, result]))
    expect([results.get('coordinator'), results.get('clock')]).toEqual(['ok', 'ok'])
    const isBad = checks.some(({ result }) => result === 'fail')
    expect(found.code).toBe(isBad ? 3 : 0)
  })
  // Also before there is any folder of state.
  const gone = await run('doctor', '--coordinator', 'https://127.0.0.1:1')
  expect(gone.code).toBe(3)
  expect(gone.output).toMatch(/^fail {2}coordinator .*127\.0\.0\.1:1 does not answer[^]*mend: /m)
}, 60_000)

test('edgelink-lite --status is edge mesh status', async () => {
  const args = ['--status', '--state', folder]
  const { code, output } = await runWith({}, edgelinkLite, args)
  expect([code, output]).toEqual([3, expect.stringContaining('not connected: no agent runs')])
})
