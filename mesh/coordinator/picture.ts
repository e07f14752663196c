/** The mesh as its agents tell of it, for the live page. */
import { z } from 'zod'
import { meshLimits } from '../limits.ts'
import type { Registry } from './registry.ts'
import type { Reports } from './reports.ts'
import type { Streams } from './streams.ts'

/** A node of the picture. */
interface PictureNode {
  readonly name: string
  readonly addresses: readonly string[]
  readonly isConnected: boolean
  readonly isLeaf: boolean
  /** Where it stands; null: nowhere in particular. */
  readonly location: string | null
  readonly isLeader: boolean
  /** How long ago it reported; null: never since the coordinator started. */
  readonly reportedMs: number | null
}

/** What two nodes told of the way between them; the newer report counts. */
interface PictureLink {
  readonly from: number
  readonly to: number
  readonly path: 'direct' | 'relay' | 'none'
  readonly handshakeMs: number | null
  /** Both directions, as one end counted them. */
  readonly bytes: number
}

/** What the page draws. */
export interface Picture {
  readonly version: number
  readonly nodes: readonly PictureNode[]
  readonly links: readonly PictureLink[]
  /** Nodes that there is no room for. */
  readonly more: number
}

const facts = z.object({ name: z.string(), key: z.string() })

export function pictureOf(
  registry: Registry,
  { streams, reports, nowMs }: { streams: Streams; reports: Reports; nowMs: number },
): Picture {
  // Those that are no leaves first: they are what the others hang on.
  const entries = [...registry.entries('core'), ...registry.entries('all')]
  const shown = [...new Set(entries)].slice(0, meshLimits.pictureNodesMax)
  const known = shown.map((entry) => ({ entry, ...facts.parse(JSON.parse(entry.record)) }))
  const places = new Map(known.map(({ key }, at) => [key, at]))
  const links = new Map<string, { readonly link: PictureLink; readonly atMs: number }>()
  for (const [from, { entry }] of known.entries()) {
    const report = reports.of(entry.id)
    for (const { key, path, lastHandshakeMs, receivedBytes, sentBytes } of report?.peers ?? []) {
      const to = places.get(key)
      const atMs = report?.atMs ?? 0
      if (to === undefined) continue
      const pair = [from, to].toSorted((one, other) => one - other).join(' ')
      if ((links.get(pair)?.atMs ?? -1) >= atMs) continue
      const handshakeMs = lastHandshakeMs === null ? null : lastHandshakeMs + nowMs - atMs
      const link = { from, to, path, handshakeMs, bytes: receivedBytes + sentBytes }
      links.set(pair, { link, atMs })
    }
  }
  return {
    version: registry.version,
    nodes: known.map(({ entry: { id, addresses, location = null, isLeader = false }, name }) => {
      const atMs = reports.of(id)?.atMs
      const reportedMs = atMs === undefined ? null : nowMs - atMs
      return {
        name,
        addresses,
        isConnected: streams.has(id),
        isLeaf: registry.isLeaf(id),
        location,
        isLeader,
        reportedMs,
      }
    }),
    links: [...links.values()].map(({ link }) => link),
    more: registry.count - shown.length,
  }
}
