/**
 * What can stand in the way of an agent on this machine, looked at one by one. Nothing is changed:
 * the only thing that is opened, for a moment, is the UDP port.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { request } from 'node:https'
import { reasonOf } from '../waf/reason-of.ts'
import { pathTo } from './path.ts'
import { meshLimits } from './limits.ts'
import type { Membership } from './memory.ts'
import { overlaps, parsePrefix } from './prefix.ts'
import { knowsRelays } from './relays.ts'
import { localRoutes } from './local-routes.ts'
import { isUntried } from './peer-status.ts'
import { askStatus, type MeshStatus, type PeerStatus } from './status.ts'

/** One thing that was looked at. */
export interface Check {
  readonly what: string
  /** `warn`: the mesh works, but not as well as it could. */
  readonly result: 'ok' | 'warn' | 'fail'
  readonly found: string
  readonly mend: string | null
}

/** What is looked at. */
export interface Patient {
  readonly folder: string
  /** Null: it joined no mesh. */
  readonly membership: Membership | null
  /** Null: nobody said. */
  readonly coordinator: string | null
  readonly port: number
  readonly interface: string
  readonly advertise: readonly string[]
}

const ok = (what: string, found: string): Check => ({ what, result: 'ok', found, mend: null })
const bad = (
  what: string,
  result: 'warn' | 'fail',
  [found, mend]: readonly [found: string, mend: string],
): Check => ({ what, result, found, mend })

/** Everything, in the order in which an agent needs it. */
export async function examine(patient: Patient): Promise<readonly Check[]> {
  const status = await askStatus(patient.folder).catch(() => 'nobody' as const)
  const running = status === 'nobody' ? null : status
  return [
    capabilities(),
    tunDevice(),
    kernelModule(),
    status === 'nobody' ? await portFree(patient.port) : ok('UDP port', 'an agent of ours has it'),
    ...(await coordinatorChecks(patient.coordinator)),
    ranges(patient, running),
    membershipCheck(patient),
    ...sessionChecks(running),
    ...(running === null ? [] : [relayCheck(running), ...locationCheck(running)]),
  ]
}

/** Through whom packets go to other locations. */
export function locationCheck({ location }: MeshStatus): readonly Check[] {
  if (location === null) return []
  const { name, leaders, isLeader, isAway } = location
  const what = 'location'
  if (leaders.length === 0) {
    const found = `${name}: nobody leads it, each of its nodes goes its own way`
    const mend =
      'let one of its nodes lead, without --leader off; in mode kernel with ' +
      'net.ipv4.ip_forward=1 and net.ipv6.conf.all.forwarding=1'
    return [bad(what, 'warn', [found, mend])]
  }
  const found = `${name}, led by ${leaders.join(' and ')}${isLeader ? '; this node is one' : ''}`
  if (isAway) {
    const mend = 'start one of them again, or let others there lead; then see its edge mesh status'
    return [bad(what, 'fail', [`${found}: away, so nobody elsewhere is reached`, mend])]
  }
  if (leaders.length > 1) return [ok(what, found)]
  return [bad(what, 'warn', [found, 'nobody stands in for it: let a second node there lead'])]
}

/** Through whom packets go where there is no direct path. */
export function relayCheck({ self, relays, isRelay, peers }: MeshStatus): Check {
  const what = 'relays'
  const role = isRelay ? '; this node is one' : ''
  const unreached = near(peers).flatMap((peer) => (isUnreached(peer) ? peer.name : []))
  if (!knowsRelays(self.mode)) {
    const found = `none can be used: the device is the kernel's (--mode ${self.mode})`
    if (unreached.length === 0) return ok(what, found)
    return bad(what, 'warn', [found, 'where a NAT is in the way, take --mode tun'])
  }
  if (relays.length === 0) {
    if (unreached.length === 0) return ok(what, `there is none, and none is needed now${role}`)
    return bad(what, 'warn', [
      `there is none, and ${unreached.length} nodes are not reached directly${role}`,
      'give two nodes that everybody reaches --endpoint ADDR:PORT, without --relay off',
    ])
  }
  const through = peers.filter(({ path }) => path === 'relay').length
  const found = `${relays.join(' and ')}; ${through} peers are reached through relays${role}`
  if (!relays.every((name) => unreached.includes(name))) return ok(what, found)
  return bad(what, 'warn', [
    `${relays.join(' and ')}: none of them answers${role}`,
    'let UDP out to their ports, or have them take packets in other ways as well: ' +
      '--relay-h3 443 --relay-tcp 443',
  ])
}

/** Those that are no peers of the device are behind one that is. */
function near(peers: MeshStatus['peers']): MeshStatus['peers'] {
  return peers.filter(({ leader }) => leader === null)
}

function isUnreached(peer: PeerStatus): boolean {
  return peer.path === 'none' && !isUntried(peer)
}

/** CAP_NET_ADMIN is bit 12 (capabilities(7), linux/capability.h). */
function capabilities(): Check {
  const text = readFileSync('/proc/self/status', 'latin1')
  const bits = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(text)?.[1] ?? '0'}`)
  if ((bits >> 12n) & 1n) return ok('capability NET_ADMIN', 'it is there')
  return bad('capability NET_ADMIN', 'fail', [
    'it is missing',
    'run as root, or give the container NET_ADMIN (securityContext.capabilities.add)',
  ])
}

function tunDevice(): Check {
  const what = '/dev/net/tun'
  try {
    if (!statSync(what).isCharacterDevice()) throw new Error('it is no device')
    accessSync(what, constants.R_OK | constants.W_OK)
    return ok(what, 'it can be opened')
  } catch (error) {
    const mend = 'load the kernel module tun, or give the container that device'
    return bad(what, 'fail', [reasonOf(error), mend])
  }
}

function kernelModule(): Check {
  const isThere = existsSync('/sys/module/wireguard')
  return ok(
    'kernel module wireguard',
    isThere ? 'loaded' : 'not loaded: the kernel loads it when it is asked, if it has it',
  )
}

async function portFree(port: number): Promise<Check> {
  const what = 'UDP port'
  const socket = createSocket({ type: 'udp6' })
  try {
    const failed = once(socket, 'error')
    socket.bind(port)
    const error: unknown = await Promise.race([
      once(socket, 'listening').then(() => null),
      failed.then(([reason]: unknown[]) => reason),
    ])
    if (error === null) return ok(what, `${port} is free`)
    return bad(what, 'fail', [
      `${port}: ${reasonOf(error)}`,
      `choose another --port, or see who has it with: ss -ulpn sport = :${port}`,
    ])
  } finally {
    socket.close()
  }
}

async function coordinatorChecks(url: string | null): Promise<readonly Check[]> {
  if (url === null) {
    const mend = 'give --coordinator URL, or join first'
    return [bad('coordinator', 'warn', ['nobody said where it is', mend])]
  }
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const way = await pathTo(url, { mtu: null, log: quiet }).catch(() => null)
  const answer = await healthOf(url).catch((error: unknown) => reasonOf(error))
  if (typeof answer === 'string') {
    const mend = 'see that it runs there, that the URL is right, and that TCP gets through'
    return [bad('coordinator', 'fail', [`${url} does not answer: ${answer}`, mend])]
  }
  const mtu = way === null ? [] : [ok('MTU', `${way.mtu} fits through the way to it`)]
  return [ok('coordinator', `${url} answers`), clock(answer.date), ...mtu]
}

/** Nothing in the mesh looks at this clock, but logs and tokens tell times. */
function clock(date: Date): Check {
  const offS = Math.round((Date.now() - date.getTime()) / 1000)
  if (Math.abs(offS) <= meshLimits.clockOffSMax) return ok('clock', `${offS} s off the coordinator`)
  const where = offS > 0 ? 'ahead of' : 'behind'
  return bad('clock', 'warn', [
    `${Math.abs(offS)} s ${where} the coordinator's; the mesh works, times in logs do not match`,
    'let both machines follow NTP: tokens expire by the clock of the coordinator',
  ])
}

async function healthOf(url: string): Promise<{ readonly date: Date }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly date: Date }>()
  const asked = request(`${url}/healthz`, {
    rejectUnauthorized: false, // nothing is believed but that somebody answers, and the time
    agent: false,
    timeout: meshLimits.requestTimeoutMs,
  })
  asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
  asked.on('error', reject)
  asked.on('response', (answer) => {
    answer.resume()
    const date = new Date(answer.headers.date ?? '')
    if (Number.isNaN(date.getTime())) reject(new Error('it is no coordinator'))
    else resolve({ date })
  })
  asked.end()
  return promise
}

/** What this machine reaches by itself, the mesh must not take away. */
function ranges(
  { membership, advertise, interface: own }: Patient,
  status: MeshStatus | null,
): Check {
  const what = 'ranges'
  const networks = membership === null ? [] : Object.values(membership.networks)
  const mine = status?.self.interface ?? own
  const routes = localRoutes().filter(({ device }) => device !== mine && device !== 'lo')
  const clashes = networks.flatMap((text) => {
    const network = parsePrefix(text)
    return routes.flatMap(({ prefix, device }) => {
      const other = parsePrefix(prefix)
      if (network === null || other === null || !overlaps(network, other)) return []
      return [`${text} of the mesh overlaps ${prefix} on ${device}`]
    })
  })
  // Two that offer one range stand in for each other: that is most often meant.
  const all = status?.conflicts ?? []
  const unused = all.filter(({ isReserve }) => isReserve !== true)
  const conflicts = unused.map(
    ({ node, prefix, reason }) => `${prefix} of ${node} is not used: ${reason}`,
  )
  const found = [...clashes, ...conflicts]
  const mend = 'renumber one of them, or do not advertise that range'
  if (found.length > 0) return bad(what, 'warn', [found.join('; '), mend])
  const count = all.length - unused.length
  const rest = count === 0 ? '' : `; ${count} offers are in reserve (edge mesh status)`
  return ok(what, `${networks.length + advertise.length} ranges overlap nothing here${rest}`)
}

function membershipCheck({ membership, folder }: Patient): Check {
  const what = 'membership'
  if (membership !== null) return ok(what, `${membership.name} in the mesh of ${membership.url}`)
  const mend = 'make a token at the coordinator, and: edge mesh join'
  return bad(what, 'warn', [`${folder} is in no mesh yet`, mend])
}

/** Whether those answer whom this node asked. */
export function sessionChecks(status: MeshStatus | null): readonly Check[] {
  const what = 'sessions'
  if (status === null) {
    return [bad(what, 'warn', ['no agent runs here', 'start it: edge mesh up --state DIR'])]
  }
  const peers = near(status.peers)
  const silent = peers.filter(isUnreached)
  const untried = peers.filter(isUntried).length
  const oldest = Math.max(0, ...peers.map(({ lastHandshakeMs }) => lastHandshakeMs ?? 0))
  const ago = `the oldest handshake is ${Math.round(oldest / 1000)} s ago`
  if (silent.length === 0) {
    const rest = untried === 0 ? '' : `; nothing was sent to ${untried} others yet`
    const all = untried === 0 ? 'all ' : ''
    return [ok(what, `with ${all}${peers.length - untried} peers; ${ago}${rest}`)]
  }
  const names = silent.slice(0, 5).map(({ name, whyNotDirect }) => `${name}: ${whyNotDirect ?? ''}`)
  const mend = 'see edge mesh status; a ping of a peer makes it try'
  return [bad(what, 'warn', [`none with ${silent.length}: ${names.join('; ')}`, mend])]
}
