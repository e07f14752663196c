/**
 * The nodes and tokens of a mesh: SQLite is the truth, memory holds what is asked for often. Every
 * change gets the next version; the log keeps the newest change of each node, so what happened
 * since any version is one slice, already without what came in between, also after a restart.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { freeAddress } from '../address-plan.ts'
import {
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
import { addressText, parseAddress, parsePrefix } from '../prefix.ts'
import { mixed } from '../view.ts'
import { ChangeLog } from './change-log.ts'
import { openDatabase } from './database.ts'
import { judgeRanges } from './ranges.ts'
import { type TokenOrder, Tokens } from './tokens.ts'

/** Who asks to be let in, checked: the record is signed by the identity. */
export interface Candidate {
  readonly identity: string
  readonly signed: SignedRecord
  readonly record: NodeRecord
  readonly observed: string | null
  /** What the device calls its kind; only seed 000's say that. */
  readonly platform?: string
}

/** What the coordinator says of a node by itself. */
type Marks = Pick<Entry, 'observed' | 'granted' | 'location' | 'isLeader' | 'isAway'>

/** The label of tokens whose nodes stand in one place, and speak to others through its leaders. */
const locationLabel = 'location'
/** The label of tokens whose nodes lead nobody, whatever they say: leaders see what they carry. */
const followerLabel = { name: 'leader', value: 'off' }
/** The label of tokens whose nodes hear only of nodes without it: edge devices in large numbers. */
const leafLabel = { name: 'role', value: 'leaf' }

export class Registry {
  readonly #database: DatabaseSync
  readonly #tokens: Tokens
  readonly #entries = new Map<string, Entry>()
  readonly #leaves = new Set<string>()
  readonly #addresses = new Set<string>()
  readonly networks: MeshNetworks
  #all = new ChangeLog()
  #core = new ChangeLog()
  #version = 0
  /** Versions below it are not known any more: nodes that left were forgotten. */
  #forgottenAt = 0
  /** Moves when another connection writes the file. */
  #seenChanges = 0
  readonly #dataVersionQuery: StatementSync

  /** `networks` counts for a new mesh only. */
  constructor(file: string, networks: MeshNetworks) {
    this.#database = openDatabase(file)
    this.#dataVersionQuery = this.#database.prepare('PRAGMA data_version')
    this.#tokens = new Tokens(this.#database)
    this.networks = this.#keptNetworks(networks)
    this.#read()
  }

  /** Takes over what another program changed in the file; whether there was something. */
  refresh(): boolean {
    const changes = this.#dataVersion()
    if (changes === this.#seenChanges) return false
    const before = this.#version
    this.#read()
    return this.#version !== before
  }

  /** What the file has and memory has not. */
  #read(): void {
    this.#seenChanges = this.#dataVersion()
    this.#forgottenAt = this.#number("SELECT value FROM settings WHERE name = 'forgotten'")
    const rows = this.#database
      .prepare(
        `SELECT version, node, leaf, entry FROM changes LEFT JOIN nodes ON nodes.id = changes.node
         WHERE version > ? ORDER BY version`,
      )
      .all(this.#version)
    for (const row of rows) {
      const text = row['entry']
      const next = typeof text === 'string' ? entry.parse(JSON.parse(text)) : null
      const id = String(row['node'])
      this.#take({ id, next, isLeaf: row['leaf'] === 1, version: Number(row['version']) })
    }
  }

  /** Memory follows the file. */
  #take(change: { id: string; next: Entry | null; isLeaf: boolean; version: number }): void {
    const { id, next, isLeaf, version } = change
    const before = this.#entries.get(id)
    const flipped = [before ?? [], next ?? []].flat()
    for (const address of before?.addresses ?? []) this.#addresses.delete(address)
    for (const address of next?.addresses ?? []) this.#addresses.add(address)
    if (next === null) this.#entries.delete(id)
    else this.#entries.set(id, next)
    if (isLeaf && next !== null) this.#leaves.add(id)
    else this.#leaves.delete(id)
    this.#all.hash = mixed(this.#all.hash, flipped)
    this.#all.put(id, version)
    if (!isLeaf) {
      this.#core.hash = mixed(this.#core.hash, flipped)
      this.#core.put(id, version)
    }
    this.#version = version
  }

  get version(): number {
    return this.#version
  }

  get hash(): string {
    return this.#all.hash
  }

  get count(): number {
    return this.#entries.size
  }

  get forgotten(): number {
    return this.#forgottenAt
  }

  /** The changes of every node, and of those that are no leaves. */
  get all(): ChangeLog {
    return this.#all
  }

  get core(): ChangeLog {
    return this.#core
  }

  has(id: string): boolean {
    return this.#entries.has(id)
  }

  isLeaf(id: string): boolean {
    return this.#leaves.has(id)
  }

  entry(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  /** Every node, or those that are no leaves. */
  entries(which: 'all' | 'core'): Entry[] {
    const all = [...this.#entries.values()]
    return which === 'all' ? all : all.filter(({ id }) => !this.#leaves.has(id))
  }

  /** The text of a new token, for the coordinator with this pin. */
  createToken(order: TokenOrder): string {
    return this.#tokens.create(order)
  }

  /** Lets in whoever has this pre-shared key, and nobody who has an earlier one. */
  share(key: string): void {
    this.#tokens.share(key)
  }

  /** See `tokens.ts`. */
  proof(...[question, pin]: Parameters<Tokens['proof']>): string {
    return this.#tokens.proof(question, pin)
  }

  /** See `tokens.ts`. */
  shared(key: string): string | null {
    return this.#tokens.shared(key)
  }

  /** With which token a node came in, and what it calls its kind. */
  origin(id: string): { readonly token: string; readonly platform: string } | null {
    const row = this.#database.prepare('SELECT token, platform FROM nodes WHERE id = ?').get(id)
    if (row === undefined) return null
    return { token: String(row['token']), platform: String(row['platform']) }
  }

  /** Lets a node in and spends a use of its token, or does neither. */
  join(candidate: Candidate, token: string, nowMs: number): Entry {
    const { identity, record, signed, observed, platform = '' } = candidate
    const id = idOf(identity)
    this.#refuseRevoked(id)
    const known = this.#entries.get(id)
    // The answer to its first request was lost: its token is spent, its identity is proof enough.
    if (known !== undefined) return this.update(id, candidate)
    return this.#transaction(() => {
      const { labels, cidrs, id: tokenId } = this.#tokens.spend(token, nowMs)
      this.#judge(id, record, cidrs)
      if (this.#entries.size >= meshLimits.nodesMax) {
        throw new MeshFault('MESH_FULL', {
          where: 'the coordinator',
          message: `the mesh has ${meshLimits.nodesMax} nodes already`,
          mend: 'remove nodes that are gone: edge mesh remove NAME',
        })
      }
      const said = JSON.parse(labels) as Record<string, string>
      const { [leafLabel.name]: role, [locationLabel]: location = '' } = said
      const isFollower = said[followerLabel.name] === followerLabel.value
      const addresses = [this.#address('ipv4', record.name), this.#address('ipv6', record.name)]
      const joined: Entry = {
        id,
        identity,
        addresses,
        observed,
        since: this.#nextSince(),
        ...(location === '' ? {} : { location }),
        ...(isFollower ? { canLead: false } : {}),
        ...signed,
      }
      this.#database
        .prepare(
          `INSERT INTO nodes (id, name, key, entry, labels, cidrs, token, platform)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(id, record.name, record.key, JSON.stringify(joined), labels, cidrs, tokenId, platform)
      this.#changed(id, joined, role === leafLabel.value)
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
    refuseForeignKey(record, old)
    return this.#transaction(() => {
      const row = this.#database.prepare('SELECT cidrs FROM nodes WHERE id = ?').get(id)
      this.#judge(id, record, String(row?.['cidrs'] ?? '[]'))
      const next: Entry = { ...before, ...signed, observed }
      if (JSON.stringify(next) === JSON.stringify(before)) return before
      this.#database
        .prepare('UPDATE nodes SET name = ?, key = ?, entry = ? WHERE id = ?')
        .run(record.name, record.key, JSON.stringify(next), id)
      this.#changed(id, next, this.isLeaf(id))
      return next
    })
  }

  /** Where a node is seen now; false when that is nothing new. */
  observe(id: string, observed: string | null): boolean {
    return this.mark(id, { observed })
  }

  /** The ranges that are a node's without its word; false when they are so already. */
  grant(id: string, cidrs: readonly string[]): boolean {
    const { granted = [] } = this.#entries.get(id) ?? {}
    return String(granted) !== String(cidrs) && this.mark(id, { granted: [...cidrs] })
  }

  /** False when it is so already; what is undefined goes. */
  mark(id: string, marks: Partial<Marks>): boolean {
    const before = this.#entries.get(id)
    const said = new Map<string, unknown>(Object.entries(before ?? {}))
    const isNew = Object.entries(marks).some(([name, mark]) => said.get(name) !== mark)
    if (before === undefined || !isNew) return false
    const next: Entry = { ...before, ...marks }
    const text = JSON.stringify(next)
    return this.#transaction(() => {
      this.#database.prepare('UPDATE nodes SET entry = ? WHERE id = ?').run(text, id)
      this.#changed(id, next, this.isLeaf(id))
      return true
    })
  }

  /** The node called so is out for good: its identity comes in with no token; its name is free. */
  revoke(name: string, nowMs: number): void {
    this.#remove(name, (id) => {
      this.#database
        .prepare('INSERT OR REPLACE INTO revoked (id, name, at_ms) VALUES (?, ?, ?)')
        .run(id, name, nowMs)
      this.#database
        .prepare('DELETE FROM revoked WHERE rowid <= (SELECT MAX(rowid) FROM revoked) - ?')
        .run(meshLimits.revokedMax)
    })
  }

  /** The node called so is out until it joins again. */
  remove(name: string): void {
    this.#remove(name, () => undefined)
  }

  #remove(name: string, more: (id: string) => void): void {
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
      more(id)
      this.#changed(id, null, this.isLeaf(id))
      this.#forgetDeparted()
    })
  }

  snapshot(): Snapshot {
    return { version: this.#version, hash: this.#all.hash, nodes: this.entries('all') }
  }

  /** Who was taken out is told so, and nothing else. */
  isRevoked(id: string): boolean {
    return this.#database.prepare('SELECT 1 FROM revoked WHERE id = ?').get(id) !== undefined
  }

  #refuseRevoked(id: string): void {
    if (!this.isRevoked(id)) return
    throw removedNode()
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
  #judge(id: string, record: NodeRecord, allowedText: string): void {
    const { name, key, previousKey, advertise } = record
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
    if (taken('key', key) || (previousKey !== undefined && taken('key', previousKey))) {
      throw new MeshFault('KEY_TAKEN', {
        where: '--state',
        message: 'another node has the same WireGuard key',
        mend: 'a copied folder of state? name an empty one, and join with a new token',
      })
    }
    judgeRanges(advertise, JSON.parse(allowedText) as string[], this.networks)
  }

  #address(family: keyof MeshNetworks, name: string): string {
    const network = parsePrefix(this.networks[family])
    const text = (value: bigint): string =>
      network === null ? '' : addressText({ family: network.family, value })
    const value =
      network === null ? null : freeAddress(network, name, (one) => this.#addresses.has(text(one)))
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
  #changed(id: string, next: Entry | null, isLeaf: boolean): void {
    this.#database.prepare('DELETE FROM changes WHERE node = ?').run(id)
    const { lastInsertRowid } = this.#database
      .prepare('INSERT INTO changes (node, leaf) VALUES (?, ?)')
      .run(id, isLeaf ? 1 : 0)
    const version = Number(lastInsertRowid)
    this.#afterCommit = () => this.#take({ id, next, isLeaf, version })
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
    this.#forgottenAt = version
    this.#database
      .prepare('DELETE FROM changes WHERE version <= ? AND node NOT IN (SELECT id FROM nodes)')
      .run(version)
    this.#database
      .prepare("INSERT OR REPLACE INTO settings (name, value) VALUES ('forgotten', ?)")
      .run(String(version))
    for (const { id, version: at } of this.#all.since(0)) {
      if (at > version) break
      if (this.#entries.has(id)) continue
      this.#all.drop(id)
      this.#core.drop(id)
    }
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

  #number(query: string): number {
    return Number(this.#database.prepare(query).get()?.['value'] ?? 0)
  }

  #dataVersion(): number {
    return Number(this.#dataVersionQuery.get()?.['data_version'] ?? 0)
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

/** The identity was taken out of the mesh. */
export function removedNode(): MeshFault {
  return new MeshFault('NODE_REMOVED', {
    where: '--state',
    message: 'this node was removed from the mesh',
    mend: 'to be in it again: empty the folder of state and join with a new token',
  })
}

/** A key before the new one must have been this node's: else it would take packets of another. */
function refuseForeignKey({ name, previousKey }: NodeRecord, old: NodeRecord): void {
  if (previousKey === undefined || [old.key, old.previousKey].includes(previousKey)) return
  throw new MeshFault('KEY_FOREIGN', {
    where: name,
    message: 'the key before the new one is not the key that this node had',
    mend: "restore the agent's folder of state, or join with an empty one and a new token",
  })
}
