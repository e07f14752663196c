/** Writes small MaxMind databases (format version 2) for tests: IPv4 networks only. */

/** A value of a record. Whole numbers would need their width; tests have none. */
export type MmdbValue =
  | string
  | number
  | readonly MmdbValue[]
  | { readonly [key: string]: MmdbValue }

/** A network such as `192.0.2.0/24`, and what is known of it. */
export type MmdbNetwork = readonly [network: string, record: MmdbValue]

type Branch = [left: Branch | number | null, right: Branch | number | null]

const types = { text: 2, double: 3, uint16: 5, uint32: 6, map: 7, uint64: 9, array: 11 } as const
const recordBytes = 3
// Of zeros, between the tree and the records.
const gapBytes = 16

/** The bytes of a database. */
export function mmdb(networks: readonly MmdbNetwork[]): Buffer {
  const root: Branch = [null, null]
  const records: Buffer[] = []
  let offset = 0
  for (const [network, record] of networks) {
    insert(root, network, offset)
    const encoded = encode(record)
    records.push(encoded)
    offset += encoded.length
  }
  const nodes = flatten(root)
  const metadata = Buffer.concat([
    Buffer.from([0xab, 0xcd, 0xef]),
    Buffer.from('MaxMind.com'),
    head(types.map, 9),
    ...entry('node_count', whole(types.uint32, nodes.length, 4)),
    ...entry('record_size', whole(types.uint16, recordBytes * 8, 2)),
    ...entry('ip_version', whole(types.uint16, 4, 2)),
    ...entry('database_type', encode('Test-City')),
    ...entry('languages', encode(['en'])),
    ...entry('binary_format_major_version', whole(types.uint16, 2, 2)),
    ...entry('binary_format_minor_version', whole(types.uint16, 0, 2)),
    ...entry('description', encode({ en: 'a test' })),
    ...entry('build_epoch', whole(types.uint64, 1_700_000_000, 4)),
  ])
  return Buffer.concat([treeOf(nodes), Buffer.alloc(gapBytes), ...records, metadata])
}

function insert(root: Branch, network: string, offset: number): void {
  const [address = '', prefix = '32'] = network.split('/')
  const bits = address
    .split('.')
    .map((byte) => Number(byte).toString(2).padStart(8, '0'))
    .join('')
    .slice(0, Number(prefix))
  let branch = root
  for (const bit of bits.slice(0, -1)) {
    const side = Number(bit) === 0 ? 0 : 1
    const next = branch[side]
    const below: Branch = Array.isArray(next) ? next : [null, null]
    branch[side] = below
    branch = below
  }
  branch[bits.endsWith('0') ? 0 : 1] = offset
}

function flatten(root: Branch): readonly Branch[] {
  const nodes = [root]
  for (const node of nodes) {
    for (const side of node) if (Array.isArray(side)) nodes.push(side)
  }
  return nodes
}

function treeOf(nodes: readonly Branch[]): Buffer {
  const places = new Map(nodes.map((node, index) => [node, index]))
  const tree = Buffer.alloc(nodes.length * 2 * recordBytes)
  nodes.forEach((node, index) => {
    node.forEach((side, at) => {
      const record =
        side === null
          ? nodes.length
          : typeof side === 'number'
            ? nodes.length + gapBytes + side
            : (places.get(side) ?? 0)
      tree.writeUIntBE(record, (2 * index + at) * recordBytes, recordBytes)
    })
  })
  return tree
}

function encode(value: MmdbValue): Buffer {
  if (typeof value === 'string') {
    const bytes = Buffer.from(value)
    return Buffer.concat([head(types.text, bytes.length), bytes])
  }
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleBE(value)
    return Buffer.concat([head(types.double, 8), bytes])
  }
  if (Array.isArray(value)) {
    return Buffer.concat([head(types.array, value.length), ...value.map(encode)])
  }
  const entries = Object.entries(value)
  const encoded = entries.flatMap(([key, one]: [string, MmdbValue]) => entry(key, encode(one)))
  return Buffer.concat([head(types.map, entries.length), ...encoded])
}

function entry(key: string, value: Buffer): Buffer[] {
  return [encode(key), value]
}

function whole(type: number, value: number, bytes: number): Buffer {
  const encoded = Buffer.alloc(bytes)
  encoded.writeUIntBE(value, 0, bytes)
  return Buffer.concat([head(type, bytes), encoded])
}

/** Type and size; types beyond 7 have a byte of their own. */
function head(type: number, size: number): Buffer {
  if (size > 28) throw new Error('longer than these tests need')
  return type <= 7 ? Buffer.from([(type << 5) | size]) : Buffer.from([size, type - 7])
}
