/**
 * The nodes and tokens of a mesh: SQLite is the truth, memory holds what is asked for often. Every
 * change gets the next version; the log keeps the newest change of each node, so what happened
 * since any version is one query, already without what came in between.
 */
import { DatabaseSync } from 'node:sqlite'
import { freeAddress } from '../address-plan.ts'
import {
  type Delta,
  entry,
  type Entry,
  type MeshNetworks,
  meshNetworks,
  type NodeRecord,
  type SignedRecord,
  type Snapshot,
} from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { idOf } from '../identity.ts'
import { meshLimits } from '../limits.ts'
import { addressText, contains, overlaps, parseAddress, parsePrefix } from '../prefix.ts'
import { hashOf, mixed } from '../view.ts'
import { type TokenOrder, Tokens } from './tokens.ts'

/** A `token` beside the running coordinator, or the coordinator beside it. */
const busyMs = 2_000
const schemaVersion = 1

const tables = `
  CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, uses_left INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, labels TEXT NOT NULL, cidrs TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS nodes (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE,
    entry TEXT NOT NULL, labels TEXT NOT NULL, cidrs TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS changes (
    version INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL UNIQUE) STRICT;
  PRAGMA user_version = ${schemaVersion}`

/** Who asks to be let in, checked: the record is signed by the identity. */
export interface Candidate {
  readonly identity: string
  readonly signed: SignedRecord
  readonly record: NodeRecord
  readonly observed: string | null
}

export class Registry {
  readonly #database: DatabaseSync
  readonly #tokens: Tokens
  readonly #entries = new Map<string, Entry>()
  readonly networks: MeshNetworks
  #version = 0
  #hash = ''
  /** Moves when another connection writes the file. */
  #seenChanges = 0

  /** `networks` counts for a new mesh only. */
  constructor(file: string, networks: MeshNetworks) {
    this.#database = new DatabaseSync(file, { timeout: busyMs })
    if (this.#number('PRAGMA user_version', 'user_version') > schemaVersion) {
      this.#database.close()
      throw new MeshFault('STATE_NEWER', {
        where: file,
        message: 'a newer version of this program wrote it',
        mend: 'use that version, or restore an older file',
      })
    }
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;')
    this.#database.exec(tables)
    this.#tokens = new Tokens(this.#database)
    this.networks = this.#keptNetworks(networks)
    this.#read()
  }

  /** Takes over what another program changed in the file; whether there was something. */
  refresh(): boolean {
    const changes = this.#number('PRAGMA data_version', 'data_version')
    if (changes === this.#seenChanges) return false
    this.#seenChanges = changes
    const before = this.#version
    this.#read()
    return this.#version !== before
  }

  #read(): void {
    this.#entries.clear()
    for (const row of this.#database.prepare('SELECT entry FROM nodes').all()) {
      const node = entry.parse(JSON.parse(String(row['entry'])))
      this.#entries.set(node.id, node)
    }
    this.#hash = hashOf(this.#entries.values())
    this.#version = this.#number('SELECT MAX(version) AS value FROM changes')
    this.#seenChanges = this.#number('PRAGMA data_version', 'data_version')
  }

  get version(): number {
    return this.#version
  }

  get hash(): string {
    return this.#hash
  }

  has(id: string): boolean {
    return this.#entries.has(id)
  }

  /** The text of a new token, for the coordinator with this pin. */
  createToken(order: TokenOrder): string {
    return this.#tokens.create(order)
  }

  /** Lets a node in and spends a use of its token, or does neither. */
  join(candidate: Candidate, token: string, nowMs: number): Entry {
    const { identity, record, signed, observed } = candidate
    const id = idOf(identity)
    const known = this.#entries.get(id)
    // The answer to its first request was lost: its token is spent, its identity is proof enough.
    if (known !== undefined) return this.update(id, candidate)
    return this.#transaction(() => {
      const { labels, cidrs } = this.#tokens.spend(token, nowMs)
      this.#judge(id, record, cidrs)
      if (this.#entries.size >= meshLimits.nodesMax) {
        throw new MeshFault('MESH_FULL', {
          where: 'the coordinator',
          message: `the mesh has ${meshLimits.nodesMax} nodes already`,
          mend: 'remove nodes that are gone: edge mesh remove NAME',
        })
      }
      const addresses = [this.#address('ipv4', record.name), this.#address('ipv6', record.name)]
      const joined: Entry = {
        id,
        identity,
        addresses,
        observed,
        since: this.#nextSince(),
        ...signed,
      }
      this.#database
        .prepare(
          'INSERT INTO nodes (id, name, key, entry, labels, cidrs) VALUES (?, ?, ?, ?, ?, ?)',
        )
        .run(id, record.name, record.key, JSON.stringify(joined), labels, cidrs)
      this.#changed(id, joined)
      return joined
    })
  }

  /** Takes a newer record of a node that is in. */
  update(id: string, { record, signed, observed }: Candidate): Entry {
    const before = this.#entries.get(id)
    if (before === undefined) throw unknownNode()
    const old = JSON.parse(before.record) as NodeRecord
    if (record.serial < old.serial) {
      throw new MeshFault('RECORD_OLD', {
        where: record.name,
        message: 'there is a newer record of this node',
        mend: 'start the agent again; its records count up from the time',
      })
    }
    if (record.name !== old.name) throw otherName(old.name)
    return this.#transaction(() => {
      const row = this.#database.prepare('SELECT cidrs FROM nodes WHERE id = ?').get(id)
      this.#judge(id, record, String(row?.['cidrs'] ?? '[]'))
      const next: Entry = { ...before, ...signed, observed }
      if (JSON.stringify(next) === JSON.stringify(before)) return before
      this.#database
        .prepare('UPDATE nodes SET name = ?, key = ?, entry = ? WHERE id = ?')
        .run(record.name, record.key, JSON.stringify(next), id)
      this.#changed(id, next)
      return next
    })
  }

  /** Where a node is seen now; false when that is nothing new. */
  observe(id: string, observed: string | null): boolean {
    const before = this.#entries.get(id)
    if (before === undefined || before.observed === observed) return false
    return this.#transaction(() => {
      const next: Entry = { ...before, observed }
      const text = JSON.stringify(next)
      this.#database.prepare('UPDATE nodes SET entry = ? WHERE id = ?').run(text, id)
      this.#changed(id, next)
      return true
    })
  }

  /** The ranges that are a node's without its word; false when they are so already. */
  grant(id: string, cidrs: readonly string[]): boolean {
    const before = this.#entries.get(id)
    if (before === undefined || String(before.granted ?? []) === String(cidrs)) return false
    return this.#transaction(() => {
      const next: Entry = { ...before, granted: [...cidrs] }
      const text = JSON.stringify(next)
      this.#database.prepare('UPDATE nodes SET entry = ? WHERE id = ?').run(text, id)
      this.#changed(id, next)
      return true
    })
  }

  /** The node called so is out: nobody lets it in again without a token, and its name is free. */
  remove(name: string): void {
    const found = this.#database.prepare('SELECT id FROM nodes WHERE name = ?').get(name)
    if (found === undefined) {
      throw new MeshFault('NODE_UNKNOWN', {
        where: name,
        message: 'there is no node with this name',
        mend: 'look at the names with: edge mesh status, on any node',
      })
    }
    const id = String(found['id'])
    this.#transaction(() => {
      this.#database.prepare('DELETE FROM nodes WHERE id = ?').run(id)
      this.#changed(id, null)
      this.#forgetDeparted()
    })
  }

  snapshot(): Snapshot {
    return { version: this.#version, hash: this.#hash, nodes: [...this.#entries.values()] }
  }

  /** What happened since a version; null when that is not known any more, or never was. */
  delta(from: number): Delta | null {
    if (from > this.#version || from < this.#forgotten()) return null
    const rows = this.#database.prepare('SELECT node FROM changes WHERE version > ?').all(from)
    const ids = rows.map((row) => String(row['node']))
    return {
      from,
      to: this.#version,
      hash: this.#hash,
      upsert: ids.flatMap((id) => this.#entries.get(id) ?? []),
      remove: ids.filter((id) => !this.#entries.has(id)),
    }
  }

  close(): void {
    this.#database.close()
  }

  #keptNetworks(networks: MeshNetworks): MeshNetworks {
    this.#database
      .prepare("INSERT OR IGNORE INTO settings (name, value) VALUES ('networks', ?)")
      .run(JSON.stringify(networks))
    const row = this.#database.prepare("SELECT value FROM settings WHERE name = 'networks'").get()
    return meshNetworks.parse(JSON.parse(String(row?.['value'])))
  }

  /** Refuses what would take something from others, before anything is written. */
  #judge(id: string, { name, key, advertise }: NodeRecord, allowedText: string): void {
    const taken = (column: 'name' | 'key', value: string): boolean =>
      this.#database
        .prepare(`SELECT 1 FROM nodes WHERE ${column} = ? AND id <> ?`)
        .get(value, id) !== undefined
    if (taken('name', name)) {
      throw new MeshFault('NAME_TAKEN', {
        where: '--name',
        message: `another node is called ${name}`,
        mend: 'choose another name, or remove that node at the coordinator: edge mesh remove',
      })
    }
    if (taken('key', key)) {
      throw new MeshFault('KEY_TAKEN', {
        where: '--state',
        message: 'another node has the same WireGuard key',
        mend: 'a copied folder of state? name an empty one, and join with a new token',
      })
    }
    const allowed = (JSON.parse(allowedText) as string[]).flatMap((text) => parsePrefix(text) ?? [])
    const own = [this.networks.ipv4, this.networks.ipv6].flatMap((text) => parsePrefix(text) ?? [])
    for (const text of advertise) {
      const prefix = parsePrefix(text)
      if (prefix === null) continue // its schema has judged it
      if (allowed.length > 0 && !allowed.some((outer) => contains(outer, prefix))) {
        throw new MeshFault('CIDR_NOT_ALLOWED', {
          where: '--advertise',
          message: `the token does not allow ${text}`,
          mend: 'make a token with: edge mesh token --cidr …, or advertise what it allows',
        })
      }
      if (own.some((network) => overlaps(network, prefix))) {
        throw new MeshFault('CIDR_OVERLAPS', {
          where: '--advertise',
          message: `${text} overlaps the addresses of the mesh itself`,
          mend: `advertise ranges outside ${this.networks.ipv4} and ${this.networks.ipv6}`,
        })
      }
    }
  }

  #address(family: keyof MeshNetworks, name: string): string {
    const network = parsePrefix(this.networks[family])
    const taken = new Set([...this.#entries.values()].flatMap(({ addresses }) => addresses))
    const text = (value: bigint): string =>
      network === null ? '' : addressText({ family: network.family, value })
    const value =
      network === null ? null : freeAddress(network, name, (one) => taken.has(text(one)))
    if (value === null || parseAddress(text(value)) === null) {
      throw new MeshFault('ADDRESSES_EXHAUSTED', {
        where: 'the coordinator',
        message: `every address of ${this.networks[family]} is taken`,
        mend: 'remove nodes that are gone: edge mesh remove NAME',
      })
    }
    return text(value)
  }

  #nextSince(): number {
    return 1 + this.#number("SELECT seq AS value FROM sqlite_sequence WHERE name = 'changes'")
  }

  /** Within a transaction; memory follows when it is through. */
  #changed(id: string, next: Entry | null): void {
    this.#database.prepare('DELETE FROM changes WHERE node = ?').run(id)
    const { lastInsertRowid } = this.#database
      .prepare('INSERT INTO changes (node) VALUES (?)')
      .run(id)
    this.#afterCommit = () => {
      const before = this.#entries.get(id)
      this.#hash = mixed(this.#hash, [before ?? [], next ?? []].flat())
      if (next === null) this.#entries.delete(id)
      else this.#entries.set(id, next)
      this.#version = Number(lastInsertRowid)
    }
  }

  /** Nodes that left long ago are not told of one by one. */
  #forgetDeparted(): void {
    const old = this.#database
      .prepare(
        `SELECT version FROM changes WHERE node NOT IN (SELECT id FROM nodes)
         ORDER BY version DESC LIMIT 1 OFFSET ?`,
      )
      .get(meshLimits.departedMax)
    if (old === undefined) return
    const version = Number(old['version'])
    this.#database
      .prepare('DELETE FROM changes WHERE version <= ? AND node NOT IN (SELECT id FROM nodes)')
      .run(version)
    this.#database
      .prepare("INSERT OR REPLACE INTO settings (name, value) VALUES ('forgotten', ?)")
      .run(String(version))
  }

  #forgotten(): number {
    return this.#number("SELECT value FROM settings WHERE name = 'forgotten'")
  }

  #afterCommit: () => void = () => undefined

  #transaction<T>(work: () => T): T {
    this.#afterCommit = () => undefined
    this.#database.exec('BEGIN IMMEDIATE')
    let result: T
    try {
      this.refresh() // what another program gave away must not be given again
      result = work()
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
    this.#afterCommit()
    return result
  }

  #number(query: string, column = 'value'): number {
    return Number(this.#database.prepare(query).get()?.[column] ?? 0)
  }
}

/** The identity is not, or no longer, in the mesh. */
export function unknownNode(): MeshFault {
  return new MeshFault('NODE_UNKNOWN', {
    where: '--state',
    message: 'the coordinator does not know this node (any more)',
    mend: 'empty the folder of state and join again with a new token',
  })
}

function otherName(name: string): MeshFault {
  return new MeshFault('NAME_OTHER', {
    where: '--name',
    message: `this node joined as ${name}`,
    mend: `write --name ${name}, or join with an empty folder and a new token`,
  })
}
