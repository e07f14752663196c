/**
 * A balancer that routes QUIC by the server id in connection ids and passes the packets on as they
 * are (draft-ietf-quic-load-balancers without encryption), as AWS' Network Load Balancer does.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** A running balancer. */
export interface QuicBalancer {
  readonly port: number
  /** Packets by the target that their server id named. */
  readonly routed: ReadonlyMap<string, number>
  /** Packets of connections that no target owns. */
  dropped(): number
  close(): void
}

const cidBytes = 16
const idBytes = 8

/** Starts one before the UDP ports on loopback; `targets` by server id, in hexadecimal. */
export async function startQuicBalancer(
  targets: ReadonlyMap<string, number>,
): Promise<QuicBalancer> {
  const front = createSocket('udp4').bind(0, '127.0.0.1')
  await once(front, 'listening')
  const paths = new Map<string, Socket>()
  const routed = new Map<string, number>()
  let [dropped, begun] = [0, 0]
  const flows = new Map<number, string>()
  const send = (packet: Buffer, client: number, target: number): void => {
    const key = `${client} ${target}`
    const socket = paths.get(key) ?? createSocket('udp4')
    if (!paths.has(key)) socket.on('message', (answer) => front.send(answer, client, '127.0.0.1'))
    paths.set(key, socket)
    socket.send(packet, target, '127.0.0.1')
  }
  front.on('message', (packet, { port: client }) => {
    const isLong = ((packet[0] ?? 0) & 0x80) !== 0
    const cid = isLong ? packet.subarray(6, 6 + (packet[5] ?? 0)) : packet.subarray(1, 1 + cidBytes)
    const named = cid.subarray(1, 1 + idBytes).toString('hex')
    const target = targets.get(named)
    if (target !== undefined) {
      routed.set(named, (routed.get(named) ?? 0) + 1)
      send(packet, client, target)
    } else if (isLong) {
      // The client chose this id: all packets of the flow go to one target, each flow to the next.
      const ids = [...targets.keys()]
      const id = flows.get(client) ?? ids[begun++ % ids.length] ?? ''
      flows.set(client, id)
      send(packet, client, targets.get(id) ?? 0)
    } else dropped += 1
  })
  return {
    port: front.address().port,
    routed,
    dropped: () => dropped,
    close: () => {
      front.close()
      for (const socket of paths.values()) socket.close()
    },
  }
}
