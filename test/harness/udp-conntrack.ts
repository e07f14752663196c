/**
 * A node before two pods, on loopback: a client's flow stays with the program that it began with,
 * and new flows go to the newest one, as kube-proxy and conntrack have it in an update. An answer
 * reaches the client only from the program that its flow belongs to.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** A running node. */
export interface UdpNode {
  readonly port: number
  /** New flows go to this port from now on. */
  leadTo(target: number): void
  close(): void
}

/** Starts a node whose flows begin at `target`, a UDP port on loopback. */
export async function startUdpNode(target: number): Promise<UdpNode> {
  const front = createSocket('udp4').bind(0, '127.0.0.1')
  await once(front, 'listening')
  const flows = new Map<number, { readonly socket: Socket; readonly target: number }>()
  let newest = target
  const begin = (client: number) => {
    const flow = { socket: createSocket('udp4'), target: newest }
    flow.socket.on('message', (answer, { port }) => {
      if (port === flow.target) front.send(answer, client, '127.0.0.1')
    })
    flows.set(client, flow)
    return flow
  }
  front.on('message', (packet, { port }) => {
    const flow = flows.get(port) ?? begin(port)
    flow.socket.send(packet, flow.target, '127.0.0.1')
  })
  return {
    port: front.address().port,
    leadTo: (next) => (newest = next),
    close: () => {
      front.close()
      for (const { socket } of flows.values()) socket.close()
    },
  }
}

/** A Service: each message goes to one of these ports of loopback, any of them. */
export async function startUdpService(
  targets: readonly number[],
): Promise<{ readonly port: number; close(): void }> {
  const front = createSocket('udp4').bind(0, '127.0.0.1')
  await once(front, 'listening')
  front.on('message', (packet) => {
    const target = targets[Math.floor(Math.random() * targets.length)] ?? 0
    front.send(packet, target, '127.0.0.1')
  })
  return { port: front.address().port, close: () => front.close() }
}

/** A UDP port of loopback that was free a moment ago. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}
