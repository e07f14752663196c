/** CONNECT-UDP with aioquic: a relay of the mesh as others than our own nodes see it. */
import { execFile } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CarrierThread } from '../../mesh/carrier.ts'
import { type Identity, passingIdentity } from '../../mesh/identity.ts'
import { root } from '../harness/edge.ts'
import { pythonWithAioquic } from '../harness/h3.ts'

const folder = mkdtempSync(join(tmpdir(), 'connect-udp-'))
const device: Socket = createSocket('udp4')
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
const own = '/.well-known/masque/udp/2001%3Adb8%3A%3A1/51820/'
const files: Record<string, readonly string[]> = { nobody: [] }
const relay: { h3: CarrierThread | null; port: number } = { h3: null, port: 0 }

function keep(name: string, { key, certificate }: Identity): void {
  const paths = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
  writeFileSync(paths[0] ?? '', key)
  writeFileSync(paths[1] ?? '', certificate)
  files[name] = paths
}

beforeAll(async () => {
  pythonWithAioquic()
  // Stands for a device: answers with what it was told.
  device.on('message', (message, { port, address }) => device.send(message, port, address))
  device.bind(0, '127.0.0.1')
  await once(device, 'listening')
  const [identity, member] = [await passingIdentity(), await passingIdentity()]
  keep('member', member)
  keep('stranger', await passingIdentity())
  const h3 = new CarrierThread({
    identity,
    port: device.address().port,
    target: '[2001:db8::1]:51820',
    isMember: (who) => who === member.identity,
    log: quiet,
  })
  relay.h3 = h3
  relay.port = h3.serve('h3', 0)
}, 120_000)

afterAll(async () => {
  await relay.h3?.close()
  device.close()
  rmSync(folder, { recursive: true, force: true })
})

async function play(who: string, path: string, scenario: string): Promise<object> {
  const script = join(root, 'test/clients/connect_udp.py')
  const given = [script, String(relay.port), path, scenario, ...(files[who] ?? [])]
  const { stdout } = await promisify(execFile)(pythonWithAioquic(), given)
  return JSON.parse(stdout) as object
}

test('packets pass in DATAGRAMs and in capsules', { timeout: 60_000 }, async () => {
  expect(await play('member', own, 'talk')).toEqual({
    connect: 1,
    h3datagram: 1,
    status: '200',
    protocol: '?1',
    why: '',
    datagrams: ['hello', 'again'],
    capsules: [true],
    end: null,
  })
})

interface Refusal {
  readonly what: string
  readonly who?: string
  readonly path?: string
  readonly scenario?: string
  readonly status: string
  readonly why: string
}

test.each<Refusal>([
  { what: 'a stranger', who: 'stranger', status: '403', why: 'proxy_internal_response' },
  { what: 'who shows nothing', who: 'nobody', status: '403', why: 'http_request_denied' },
  { what: 'another port', path: own.replace('51820', '53'), status: '403', why: 'prohibited' },
  { what: 'a name', path: own.replace(/2001[^/]*/, 'localhost'), status: '403', why: 'prohibited' },
  { what: 'another path', path: '/', status: '400', why: 'http_request_error' },
  { what: 'connect-ip', scenario: 'other_protocol', status: '501', why: 'http_request_denied' },
])('$what is refused', { timeout: 60_000 }, async (refusal) => {
  const { who = 'member', path = own, scenario = 'talk', status, why } = refusal
  const refused = { status, why: expect.stringContaining(why) as string }
  expect(await play(who, path, scenario)).toMatchObject(refused)
})

test.each([
  ['a DATAGRAM of no stream', 'no_stream', 'connection 0x33'],
  ['a DATAGRAM without a context', 'no_context', 'connection 0x10e'],
  ['a capsule that no packet is as long as', 'long_capsule', 'connection 0x10e'],
  ['a capsule that is cut off', 'half_capsule', 'connection 0x10e'],
  ['an end', 'end', 'connection 0x100'],
] as const)('%s ends it', { timeout: 60_000 }, async (_what, scenario, end) => {
  expect(await play('member', own, scenario)).toMatchObject({ status: '200', end })
})
