/**
 * Packets of the mesh in a TCP connection, for nodes that no UDP comes out of: each datagram after
 * its length (as RFC 4571 §2 has it), in TLS, both ends known by their identities. To the device
 * the other end of the connection is an address of loopback, where this program listens.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { reasonOf } from '../waf/reason-of.ts'
import { endpointText, parseEndpoint } from './entry.ts'
import { MeshFault } from './fault.ts'
import { type Identity, identityIn } from './identity.ts'
import { meshLimits } from './limits.ts'

const lengthBytes = 2

/** A datagram as it goes over the connection. */
export function frameOf(datagram: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(lengthBytes + datagram.length)
  frame.writeUInt16BE(datagram.length)
  datagram.copy(frame, lengthBytes)
  return frame
}

/** Datagrams out of a connection's bytes. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0)

  /** Those that are whole by now; throws when one is longer than any packet. */
  take(chunk: Buffer): readonly Buffer[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const frames: Buffer[] = []
    while (bytes.length >= lengthBytes) {
      const length = bytes.readUInt16BE()
      if (length > meshLimits.carrierFrameBytesMax) throw new Error('a frame is too long')
      if (bytes.length < lengthBytes + length) break
      frames.push(bytes.subarray(lengthBytes, lengthBytes + length))
      bytes = bytes.subarray(lengthBytes + length)
    }
    this.#rest = bytes
    return frames
  }
}

/** A connection that carries packets, and where the device finds it. */
export interface Carrier {
  readonly endpoint: string
  /** Where the other end of the connection is, and in what: `ADDRESS:PORT/h3` or `/tcp`. */
  readonly place: string
  readonly ended: Promise<void>
  close(): void
}

/** Addresses that the device knows to be such ones (native/crates/wireguard/src/paths.rs). */
function loopbackAddress(): string {
  const part = (): number => 1 + Math.floor(Math.random() * 254)
  return `127.77.${part()}.${part()}`
}

/** Lets packets pass between a connection and the device at a port of this machine. */
async function carried(stream: TLSSocket, devicePort: number): Promise<Carrier> {
  const socket = createSocket('udp4')
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const close = (): void => {
    stream.destroy()
    resolve()
  }
  stream.on('error', close).on('close', close)
  stream.setNoDelay(true)
  // The nodes' keepalives keep it alive.
  stream.setTimeout(meshLimits.carrierSilenceMs, close)
  void ended.then(() => socket.close())
  socket.on('error', close)
  socket.bind(0, loopbackAddress())
  await once(socket, 'listening')
  const { address, port } = socket.address()
  const frames = new Frames()
  stream.on('data', (chunk: Buffer) => {
    try {
      for (const one of frames.take(chunk)) pass(socket, one, devicePort)
    } catch {
      close()
    }
  })
  socket.on('message', (datagram, from) => {
    // Nobody else on this machine has something to say; a full queue loses packets, as on any link.
    const isFull = stream.writableLength > meshLimits.carrierQueueBytesMax
    if (from.port === devicePort && !isFull) stream.write(frameOf(datagram))
  })
  const { remoteAddress = '', remotePort = 0 } = stream
  const place = `${endpointText(remoteAddress.replace(/^::ffff:/, ''), remotePort)}/tcp`
  return { endpoint: `${address}:${port}`, place, ended, close }
}

function pass(socket: Socket, datagram: Buffer, port: number): void {
  socket.send(datagram, port, '127.0.0.1', () => undefined)
}

/** What a carrier stands on. */
export interface CarrierParts {
  readonly identity: Identity
  /** The device's own port. */
  readonly port: number
}

/** A relay that takes packets in other ways than by UDP alone. */
export interface CarryingPlace {
  /** By UDP. */
  readonly endpoint: string
  readonly identity: string
}

/** Connects to a relay, which must be who it is known to be. */
export async function connectCarrier(
  { identity, port }: CarrierParts,
  relay: CarryingPlace & { readonly tcpPort: number },
): Promise<Carrier> {
  const host = parseEndpoint(relay.endpoint)?.address ?? ''
  const own = { key: identity.key, cert: identity.certificate }
  const stream = connect({ host, port: relay.tcpPort, ...own, rejectUnauthorized: false })
  try {
    const signal = AbortSignal.timeout(meshLimits.carrierConnectMs)
    await once(stream, 'secureConnect', { signal })
    if (identityOf(stream) !== relay.identity) throw new Error('it is somebody else')
    return await carried(stream, port)
  } catch (error) {
    stream.destroy()
    throw error
  }
}

/** Serves nodes of the mesh that come so. */
export async function serveCarriers(
  { identity, port }: CarrierParts,
  tcpPort: number,
  isMember: (identity: string) => boolean,
): Promise<CarrierServer> {
  const carriers = new Map<string, Carrier>()
  const server = createServer({
    key: identity.key,
    cert: identity.certificate,
    requestCert: true,
    rejectUnauthorized: false, // any certificate: its key is looked up
    handshakeTimeout: meshLimits.handshakeTimeoutMs,
  })
  server.maxConnections = meshLimits.carriersMax
  server.on('tlsClientError', (_error, stream) => stream.destroy())
  server.on('secureConnection', (stream) => {
    stream.on('error', () => undefined) // whoever it was is gone
    const who = identityOf(stream)
    if (who === null || !isMember(who)) return stream.destroy()
    carriers.get(who)?.close() // it came anew
    void carried(stream, port).then(
      (carrier) => {
        carriers.set(who, carrier)
        void carrier.ended.then(() => {
          if (carriers.get(who) === carrier) carriers.delete(who)
        })
      },
      () => stream.destroy(),
    )
    return undefined
  })
  server.listen(tcpPort)
  await once(server, 'listening').catch((error: unknown) => {
    throw new MeshFault('PORT_TAKEN', {
      where: '--relay-tcp',
      message: `TCP port ${tcpPort} cannot be had: ${reasonOf(error)}`,
      mend: `choose another port, or see who has it with: ss -tlpn sport = :${tcpPort}`,
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    placeOf: (endpoint) =>
      [...carriers.values()].find((carrier) => carrier.endpoint === endpoint)?.place ?? null,
    review() {
      for (const [who, carrier] of carriers) if (!isMember(who)) carrier.close()
    },
    close() {
      server.close()
      for (const carrier of carriers.values()) carrier.close()
    },
  }
}

/** One that was started. */
export interface CarrierServer {
  readonly port: number
  /** Where a node really is that the device sees at an address of loopback; null: none is there. */
  placeOf(endpoint: string): string | null
  /** Ends those of nodes that are members no more. */
  review(): void
  close(): void
}

function identityOf(stream: TLSSocket): string | null {
  const shown = stream.getPeerX509Certificate()
  return shown === undefined ? null : identityIn(shown)
}
