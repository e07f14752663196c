/** How undici connects through the agent of a mesh that has no interface. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { buildConnector } from 'undici'
import { dialThrough } from '../../mesh/dial.ts'

/** What it needs to know of the endpoint. */
export interface MeshWay {
  /** Path of the agent's socket. */
  readonly via: string
  /** ADDRESS:PORT, tried in order. */
  readonly addresses: readonly string[]
  readonly timeoutMs: number
  readonly http2: boolean
  /** Null: in clear. */
  readonly tls: ConnectionOptions | null
}

/** For the option `connect` of a client. */
export function meshConnector(way: MeshWay): buildConnector.connector {
  return (_options, connected) => {
    connection(way).then(
      (socket) => connected(null, socket),
      (error: unknown) => connected(error instanceof Error ? error : new Error('no way'), null),
    )
  }
}

async function connection(way: MeshWay): Promise<Socket | TLSSocket> {
  const signal = AbortSignal.timeout(way.timeoutMs)
  const socket = await firstOf(way, signal)
  // What undici reads to know what a connection in clear speaks.
  if (way.tls === null) return Object.assign(socket, way.http2 ? { alpnProtocol: 'h2' } : {})
  const protocols = way.http2 ? ['h2', 'http/1.1'] : ['http/1.1']
  const encrypted = connectTls({ ...way.tls, socket, ALPNProtocols: protocols })
  await once(encrypted, 'secureConnect', { signal })
  return encrypted
}

async function firstOf({ via, addresses }: MeshWay, signal: AbortSignal): Promise<Socket> {
  let failure: unknown = new Error('it has no address')
  for (const address of addresses) {
    try {
      return await dialThrough(via, address, signal)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}
