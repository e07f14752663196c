import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseToken } from '../../mesh/token.ts'
import { UsageError } from '../config/faults.ts'
import { mesh } from './mesh.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-cli-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function run(...args: readonly string[]) {
  const output: string[] = []
  const add = (line: string): void => void output.push(line)
  const code = await mesh(args, { env: {}, print: add, error: add })
  return { code, output: output.join('\n') }
}

const up = ['up', '--coordinator', 'https://h:1', '--name', 'n', '--state', 's', '--token', 't']
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
  [['export', '--name', 'p', '--format', 'qr'], '--format: "qr" is neither wg-quick nor json'],
  [['remove', '--state', 's'], 'edge mesh remove NAME'],
  [[...up, '--coordinator', 'http://h:1'], '--coordinator: "http://h:1" is not https://HOST:PORT'],
  [[...up, '--name', 'a b'], '--name: "a b" is no name'],
  [[...up, '--mode', 'bridge'], '--mode: "bridge" is none of auto, tun, netstack'],
  [[...up, '--port', '70000'], '--port: "70000" is not a number from 1 to 65535'],
  [[...up, '--mtu', '9000'], '--mtu: "9000" is not a number from 1280 to 4000'],
  [[...up, '--advertise', '10.0.0.0'], '--advertise: "10.0.0.0" is no CIDR'],
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
  expect(peers).toEqual([
    { name: 'phone', publicKey: expect.any(String), allowedIps, endpoint: null, keepaliveS: 25 },
  ])
})

test('a node that is not there is not removed', async () => {
  const { code, output } = await run('remove', 'node-x', '--state', folder)
  expect([code, output]).toEqual([1, expect.stringContaining('no node with this name\n  mend: ')])
})

test('without an agent the status is that nothing is connected', async () => {
  const { code, output } = await run('status', '--state', folder)
  expect([code, output]).toEqual([3, expect.stringContaining('not connected: no agent runs')])
})
