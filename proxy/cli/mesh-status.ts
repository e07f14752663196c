/** `edge mesh status`: what the agent of a folder says of itself and its peers. */
import { askStatus, type MeshStatus, type PeerStatus } from '../../mesh/status.ts'
import { exitCodes } from './exit-codes.ts'
import { stateFolder } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = { state: { type: 'string' }, json: { type: 'boolean' } } as const

/** Exit code 3 when this node is not in a mesh now. */
export async function meshStatus(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh status', args, options)
  noPositionals('edge mesh status', positionals)
  const folder = stateFolder(values.state, terminal)
  const status = await askStatus(folder)
  if (status === null || status === 'nobody') {
    const reason = status === null ? 'the agent has not joined yet' : 'no agent runs'
    terminal.error(`not connected: ${reason}\n  mend: edge mesh up --state ${folder} …`)
    return exitCodes.foundProblems
  }
  if (values.json === true) terminal.print(JSON.stringify(status))
  else for (const line of linesOf(status)) terminal.print(line)
  return exitCodes.fine
}

function linesOf({ self, coordinator, location, peers, conflicts }: MeshStatus): string[] {
  const link = coordinator.isConnected ? 'connected' : 'away: the mesh goes on as it is'
  return [
    [self.name, ...self.addresses].join('  '),
    `mode ${self.mode}, interface ${self.interface}, mtu ${self.mtu}, port ${self.port}`,
    `coordinator ${coordinator.url}: ${link}, version ${coordinator.version}`,
    ...(location === null ? [] : [locationLine(location)]),
    ...peers.map(peerLine),
    ...conflicts.map(({ node, prefix, reason, isReserve = false }) => {
      const word = isReserve ? 'in reserve' : 'not used'
      return `${word}: ${prefix} of ${node}: ${reason}`
    }),
  ]
}

function locationLine({ name, ...rest }: NonNullable<MeshStatus['location']>): string {
  const { leaders, isLeader, isAway } = rest
  if (leaders.length === 0) return `location ${name}: nobody leads it, each node goes its own way`
  const role = isLeader ? '; this node is one of them' : ''
  const loss = isAway ? ': away, so nobody elsewhere is reached' : ''
  return `location ${name}, led by ${leaders.join(' and ')}${role}${loss}`
}

function peerLine(peer: PeerStatus): string {
  const { name, addresses, path, lastHandshakeMs, receivedBytes, sentBytes } = peer
  const ago = lastHandshakeMs === null ? null : Math.round(lastHandshakeMs / 1000)
  const words = [
    name,
    ...addresses,
    path === 'leader'
      ? `leader ${peer.leader}`
      : peer.relay === null
        ? path
        : `${path} ${peer.relay}`,
    ...(peer.leader === null ? [peer.endpoint ?? 'endpoint not known yet'] : []),
    ago === null ? 'no handshake yet' : `handshake ${ago} s ago`,
    ...(peer.leader === null ? [`${receivedBytes} bytes in, ${sentBytes} out`] : []),
    ...(peer.whyNotDirect === null ? [] : [`(${peer.whyNotDirect})`]),
  ]
  return `  ${words.join('  ')}`
}
