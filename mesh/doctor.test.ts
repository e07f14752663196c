/** What the doctor says of relays; the rest of it is tested by its command. */
import { expect, test } from 'vitest'
import { locationCheck, relayCheck, sessionChecks } from './doctor.ts'
import type { MeshMode } from './mode.ts'
import type { MeshStatus, PeerStatus } from './status.ts'

const peer = (name: string, path: PeerStatus['path']): PeerStatus => ({
  name,
  addresses: [],
  path,
  relay: null,
  leader: null,
  endpoint: null,
  lastHandshakeMs: null,
  receivedBytes: 0,
  sentBytes: 148,
  whyNotDirect: null,
})

interface Case {
  readonly says: string
  readonly mode?: MeshMode
  readonly relays?: readonly string[]
  readonly isRelay?: boolean
  readonly paths: Readonly<Record<string, PeerStatus['path']>>
  readonly found: string
  readonly mend?: string
}

const cases: readonly Case[] = [
  {
    says: 'names those that serve it',
    relays: ['a', 'b'],
    paths: { a: 'direct', b: 'none', c: 'relay' },
    found: 'a and b; 1 peers are reached through relays',
  },
  {
    says: 'warns when none of them answers',
    relays: ['a', 'b'],
    paths: { a: 'none', b: 'none', c: 'direct' },
    found: 'a and b: none of them answers',
    mend: '--relay-h3 443 --relay-tcp 443',
  },
  { says: 'is content without one', paths: { c: 'direct' }, found: 'none is needed now' },
  {
    says: 'warns when there is none and one is needed',
    isRelay: true,
    paths: { c: 'none' },
    found: '1 nodes are not reached directly; this node is one',
    mend: '--endpoint ADDR:PORT',
  },
  {
    says: 'knows that a kernel has none',
    mode: 'kernel',
    paths: { c: 'none' },
    found: "the device is the kernel's",
    mend: '--mode tun',
  },
]

function statusOf(mode: MeshMode, more: Partial<MeshStatus>): MeshStatus {
  return {
    self: { name: 'x', addresses: [], interface: 'edge0', mode, mtu: 1_420, port: 51_820 },
    coordinator: { url: 'https://x', isConnected: true, version: 1 },
    relays: [],
    isRelay: false,
    location: null,
    peers: [],
    conflicts: [],
    ...more,
  }
}

test.for(cases)('the doctor $says', ({ mode = 'tun', relays = [], isRelay = false, ...rest }) => {
  const peers = Object.entries(rest.paths).map(([name, path]) => peer(name, path))
  const status = statusOf(mode, { relays: [...relays], isRelay, peers })
  const { result, found, mend } = relayCheck(status)
  expect(found).toContain(rest.found)
  expect([result, mend ?? '']).toEqual(
    rest.mend === undefined ? ['ok', ''] : ['warn', expect.stringContaining(rest.mend)],
  )
})

test('the doctor warns where nobody leads a location, or one alone', () => {
  const found = (leaders: readonly string[], isAway = false): unknown => {
    const location = { name: 'north', leaders: [...leaders], isLeader: false, isAway }
    const checks = locationCheck(statusOf('tun', { location }))
    return checks.map((check) => [check.result, check.found])
  }
  expect(locationCheck(statusOf('tun', {}))).toEqual([])
  expect(found(['a', 'b'])).toEqual([['ok', 'north, led by a and b']])
  expect(found(['a'])).toEqual([['warn', 'north, led by a']])
  expect(found([])).toEqual([['warn', expect.stringContaining('nobody leads it')]])
  const gone = 'north, led by a: away, so nobody elsewhere is reached'
  expect(found(['a'], true)).toEqual([['fail', gone]])
})

test('of peers that nothing was sent to nobody says that they do not answer', () => {
  const endpoint = '192.0.2.2:51820'
  const untried: PeerStatus = { ...peer('b', 'none'), endpoint, sentBytes: 0 }
  const spoken: PeerStatus = { ...peer('c', 'direct'), lastHandshakeMs: 4_000 }
  const behind: PeerStatus = { ...peer('d', 'none'), leader: 'b' }
  const status = statusOf('netstack', { relays: ['b'], peers: [untried, spoken, behind] })
  expect(relayCheck(status).result).toBe('ok')
  const told = 'with 1 peers; the oldest handshake is 4 s ago; nothing was sent to 1 others yet'
  expect(sessionChecks(status)).toMatchObject([{ result: 'ok', found: told }])
  const silent = { ...untried, sentBytes: 148 }
  const [check] = sessionChecks({ ...status, peers: [silent, spoken, behind] })
  expect(check).toMatchObject({ result: 'warn', found: expect.stringMatching(/^none with 1: b: /) })
})

test('who is reached through leaders needs no relay', () => {
  const far: PeerStatus = { ...peer('b', 'none'), leader: 'a' }
  expect(relayCheck(statusOf('tun', { peers: [far] })).result).toBe('ok')
})
