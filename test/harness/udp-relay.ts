/**
 * A NAT between a QUIC client and the edge, on loopback: every address of the client has a port of
 * its own towards the edge, which the relay may change, and paths may go dead.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** A running relay. */
export interface UdpRelay {
  readonly port: number
  /** How many addresses of the client were seen. */
  clients(): number
  /** From now on the edge sees every client at another port. */
  rebind(): void
  /** Nothing goes on between the edge and the clients that were seen so far. */
  cut(): void
  close(): void
}

/** Starts a relay to `target`, a UDP port on loopback. */
export async function startUdpRelay(target: number): Promise<UdpRelay> {
  const front = await bound()
  const paths = new Map<number, Socket>()
  const sockets = new Set<Socket>()
  const dead = new Set<number>()
  const open = (client: number): Socket => {
    const socket = createSocket('udp4')
    socket.on('message', (packet) => {
      if (!dead.has(client)) front.send(packet, client, '127.0.0.1')
    })
    sockets.add(socket)
    paths.set(client, socket)
    return socket
  }
  front.on('message', (packet, { port }) => {
    const socket = paths.get(port) ?? open(port)
    if (!dead.has(port)) socket.send(packet, target, '127.0.0.1')
  })
  return {
    port: front.address().port,
    clients: () => paths.size,
    // What comes to an old port is still passed on, as by a NAT that has not forgotten it.
    rebind: () => [...paths.keys()].forEach((client) => open(client)),
    cut: () => [...paths.keys()].forEach((client) => dead.add(client)),
    close: () => {
      front.close()
      for (const socket of sockets) socket.close()
    },
  }
}

async function bound(): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}
