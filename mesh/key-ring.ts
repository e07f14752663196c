/**
 * The WireGuard keys of a node, and where it is on the way from one to the next. The way:
 * announced (others are told of the next key and listen for both, this node still speaks with the
 * old one) → switched (it speaks with the new one and answers both) → dropped. Each step is on disk
 * before it is told, so that a restart goes on from it.
 */
import { z } from 'zod'
import { isKey, type NodeRecord } from './entry.ts'
import { readState, writeLasting } from './folder.ts'
import { type Identity, newWireguardKey, publicKeyOf } from './identity.ts'

const fileName = 'wireguard-keys.json'
const key = z.string().refine(isKey)
const stored = z.object({
  current: key,
  next: key.nullable(),
  previous: key.nullable(),
  /** When the last step was done. */
  sinceMs: z.number(),
})

/** What a device is given: it speaks with the first and answers both. */
export interface DeviceKeys {
  readonly privateKey: string
  readonly previousPrivateKey?: string
}

export class KeyRing {
  readonly #folder: string
  #keys: z.infer<typeof stored>

  private constructor(folder: string, keys: z.infer<typeof stored>) {
    this.#folder = folder
    this.#keys = keys
  }

  /** Of a folder; the first key is the one that the node was made with. */
  static of(folder: string, { wireguard }: Identity, nowMs: number): KeyRing {
    const first = { current: wireguard.privateKey, next: null, previous: null, sinceMs: nowMs }
    const found = readState(folder, fileName, stored)
    const ring = new KeyRing(folder, found ?? first)
    if (found === null) ring.#step(first)
    return ring
  }

  get stage(): 'settled' | 'announced' | 'switched' {
    if (this.#keys.next !== null) return 'announced'
    return this.#keys.previous === null ? 'settled' : 'switched'
  }

  /** When the stage began. */
  get sinceMs(): number {
    return this.#keys.sinceMs
  }

  /** What the node says of its keys. */
  get announced(): Pick<NodeRecord, 'key' | 'previousKey'> {
    const { current, next, previous } = this.#keys
    const before = next === null ? previous : current
    const named = publicKeyOf(next ?? current)
    return before === null ? { key: named } : { key: named, previousKey: publicKeyOf(before) }
  }

  get device(): DeviceKeys {
    const { current, previous } = this.#keys
    if (previous === null) return { privateKey: current }
    return { privateKey: current, previousPrivateKey: previous }
  }

  /** A next key; one that is under way stays. */
  begin(nowMs: number): void {
    if (this.stage !== 'settled') return
    this.#step({ ...this.#keys, next: newWireguardKey(), sinceMs: nowMs })
  }

  switch(nowMs: number): void {
    const { current, next } = this.#keys
    if (next === null) return
    this.#step({ current: next, next: null, previous: current, sinceMs: nowMs })
  }

  drop(nowMs: number): void {
    this.#step({ ...this.#keys, previous: null, sinceMs: nowMs })
  }

  #step(keys: z.infer<typeof stored>): void {
    writeLasting(this.#folder, fileName, JSON.stringify(keys))
    this.#keys = keys
  }
}
