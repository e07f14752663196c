/** The difference between what a device has and what it should have. */
import type { Desired, DesiredPeer } from './topology.ts'

/** What a device has by what was applied to it. */
export type Applied = Pick<Desired, 'addresses' | 'routes' | 'peers' | 'forwards' | 'ownRanges'>

/** A peer that is new or changed; of a changed one only what changed. */
export interface PeerChange {
  readonly publicKey: string
  readonly allowedIps?: readonly string[]
  /** Ranges of others from which it may send as well: packets from an address are taken from this
   * peer when exactly the longest prefix around that address, whoever has it, is among these. Of no
   * effect in a device of the kernel. */
  readonly standbyIps?: readonly string[]
  /** Not there while the wanted one stays the same: what packets taught the device is no drift. */
  readonly endpoint?: string
  readonly keepaliveS?: number
  /** The key that this peer had before. Its sessions carry packets until the new key has one; it is
   * heard until it is removed. Of no effect when the new key is there already. */
  readonly previousKey?: string
  /** What fits through the path to it, where that is less than the interface's; 0: as much. */
  readonly mtu?: number
  /** The keys of the peers through which it is reached while it is not directly, at most two: the
   * first that is there is taken. */
  readonly relays?: readonly string[]
  /** Addresses where it might be reached directly, beside its endpoint; at most 16. Relays tell
   * more of them. */
  readonly candidates?: readonly string[]
  /** Its device takes packets of one key of this node, not of two while that changes. */
  readonly hearsOneKey?: boolean
  /** When packets were sent to it and nothing came back for most of a second, a handshake makes it
   * speak, again and again, so that a live one never looks dead. Of no effect in a device of the
   * kernel. */
  readonly isWatched?: boolean
  /** What is forwarded comes from such a peer or goes to one: so nothing goes round. */
  readonly isInside?: boolean
}

/** Steps for a device; it adds before it removes. */
export interface DeviceDelta {
  /** The keys of this node from now on: it speaks with the first, and answers on both. */
  readonly privateKey?: string
  readonly previousPrivateKey?: string
  readonly addAddresses: readonly string[]
  readonly peers: readonly PeerChange[]
  readonly removePeers: readonly string[]
  readonly removeRoutes: readonly string[]
  readonly addRoutes: readonly string[]
  readonly removeAddresses: readonly string[]
  /** Packets of one peer to another one go on to it and never come to the interface; at first not.
   * Of no effect in a device of the kernel, and so is the next one. */
  readonly forwards?: boolean
  /** All ranges that this node serves: packets to them come to its interface, as those to its
   * addresses do, where no peer has a longer prefix. */
  readonly ownRanges?: readonly string[]
}

/** Nothing yet. */
export const nothingApplied: Applied = {
  addresses: [],
  routes: [],
  peers: new Map(),
  forwards: false,
  ownRanges: [],
}

/** A delta that changes nothing. */
export const noSteps: DeviceDelta = {
  addAddresses: [],
  peers: [],
  removePeers: [],
  removeRoutes: [],
  addRoutes: [],
  removeAddresses: [],
}

/** Null when there is nothing to do: then nothing is written. */
export function reconcile(applied: Applied, desired: Applied): DeviceDelta | null {
  const delta = {
    addAddresses: without(desired.addresses, applied.addresses),
    peers: changesOf(applied.peers, desired.peers),
    removePeers: unheard(applied.peers, desired.peers),
    removeRoutes: without(applied.routes, desired.routes),
    addRoutes: without(desired.routes, applied.routes),
    removeAddresses: without(applied.addresses, desired.addresses),
  } satisfies DeviceDelta
  const isSame = Object.values(delta).every((steps) => steps.length === 0)
  const leading = {
    ...(applied.forwards === desired.forwards ? {} : { forwards: desired.forwards }),
    ...(sameTexts(applied.ownRanges, desired.ownRanges) ? {} : { ownRanges: desired.ownRanges }),
  }
  if (isSame && Object.keys(leading).length === 0) return null
  return { ...delta, ...leading }
}

/** What is in force after a delta of which these ranges were refused. */
export function afterApplying(desired: Applied, refused: ReadonlySet<string>): Applied {
  if (refused.size === 0) return desired
  return {
    ...desired,
    addresses: desired.addresses.filter((address) => !refused.has(address)),
    routes: desired.routes.filter((route) => !refused.has(route)),
  }
}

/** The keys that a device listens for and should not: of thousands there are few. */
function unheard(applied: Applied['peers'], desired: Applied['peers']): string[] {
  if (applied === desired) return []
  const former = new Set<string>()
  for (const { previousKey } of desired.values()) {
    if (previousKey !== undefined) former.add(previousKey)
  }
  const gone = new Set<string>()
  for (const { publicKey, previousKey } of applied.values()) {
    for (const key of [publicKey, previousKey]) {
      if (key !== undefined && !desired.has(key) && !former.has(key)) gone.add(key)
    }
  }
  return [...gone]
}

function changesOf(applied: Applied['peers'], desired: Applied['peers']): PeerChange[] {
  if (applied === desired) return []
  return [...desired.values()].flatMap((peer) => {
    const change = changeOf(applied.get(peer.publicKey), peer)
    return change === null ? [] : [change]
  })
}

function changeOf(before: DesiredPeer | undefined, peer: DesiredPeer): PeerChange | null {
  const { publicKey, previousKey, allowedIps, standbyIps, endpoint, keepaliveS } = peer
  const { relays, candidates } = peer
  if (before === undefined) {
    const former = previousKey === undefined ? {} : { previousKey }
    const place = endpoint === null ? {} : { endpoint }
    return {
      publicKey,
      ...former,
      allowedIps,
      keepaliveS,
      ...place,
      ...(relays.length === 0 ? {} : { relays }),
      ...(candidates.length === 0 ? {} : { candidates }),
      ...(peer.hearsOneKey === true ? { hearsOneKey: true } : {}),
      ...(standbyIps.length === 0 ? {} : { standbyIps }),
      ...(peer.isWatched === true ? { isWatched: true } : {}),
      ...(peer.isInside === true ? { isInside: true } : {}),
    }
  }
  const change = {
    ...(sameTexts(before.allowedIps, allowedIps) ? {} : { allowedIps }),
    ...(endpoint === null || before.endpoint === endpoint ? {} : { endpoint }),
    ...(before.keepaliveS === keepaliveS ? {} : { keepaliveS }),
    ...(sameTexts(before.relays, relays) ? {} : { relays }),
    ...(sameTexts(before.candidates, candidates) ? {} : { candidates }),
    ...(before.hearsOneKey === peer.hearsOneKey ? {} : { hearsOneKey: peer.hearsOneKey === true }),
    ...(sameTexts(before.standbyIps, standbyIps) ? {} : { standbyIps }),
    ...(before.isWatched === peer.isWatched ? {} : { isWatched: peer.isWatched === true }),
    ...(before.isInside === peer.isInside ? {} : { isInside: peer.isInside === true }),
  }
  return Object.keys(change).length === 0 ? null : { publicKey, ...change }
}

function without(all: readonly string[], these: readonly string[]): string[] {
  if (all === these) return []
  const known = new Set(these)
  return all.filter((one) => !known.has(one))
}

function sameTexts(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at])
}
