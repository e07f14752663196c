/** Nodes for tests. */
import type { Entry, NodeRecord } from './entry.ts'
import type { MeshNode } from './topology.ts'

/** An entry that nobody signed. */
export function entryOf(id: string, record: Partial<NodeRecord> = {}): Entry {
  const key = Buffer.alloc(32, id).toString('base64')
  const whole = { name: id, key, port: 51_820, endpoint: null, advertise: [], serial: 1, ...record }
  const signed = { record: JSON.stringify(whole), signature: '' }
  return { id, identity: key, addresses: ['10.96.0.1'], observed: null, since: 1, ...signed }
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
