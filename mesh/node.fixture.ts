/** Nodes for tests. */
import type { PeerStats } from './device.ts'
import type { Entry, NodeRecord } from './entry.ts'
import type { MeshNode } from './topology.ts'

/** An entry that nobody signed. */
export function entryOf(id: string, record: Partial<NodeRecord> = {}): Entry {
  const key = Buffer.alloc(32, id).toString('base64')
  const whole = { name: id, key, port: 51_820, endpoint: null, advertise: [], serial: 1, ...record }
  const signed = { record: JSON.stringify(whole), signature: '' }
  return { id, identity: key, addresses: ['10.96.0.1'], observed: null, since: 1, ...signed }
}

/** What a device says of a peer that it reaches directly. */
export function statsOf(more: Partial<PeerStats> = {}): PeerStats {
  return {
    publicKey: nodeOf(2).key,
    endpoint: '192.0.2.2:51820',
    lastHandshakeMs: 1_000,
    receivedBytes: 1,
    sentBytes: 2,
    isOnPreviousKey: false,
    path: 'direct',
    whyNotDirect: null,
    relay: null,
    isSilent: false,
    unansweredMs: null,
    seenAs: null,
    forwardedBytes: 0,
    refusedPackets: 0,
    ...more,
  }
}

/** A node with an address of both families by its number. */
export function nodeOf(number: number, more: Partial<MeshNode> = {}): MeshNode {
  return {
    id: `id-${number}`,
    name: `node-${number}`,
    key: Buffer.alloc(32, number).toString('base64'),
    addresses: [`10.96.0.${number}`, `fd00::${number}`],
    advertise: [],
    endpoint: `192.0.2.${number}:51820`,
    since: number,
    ...more,
  }
}
