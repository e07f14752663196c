/**
 * Packets that make a device begin handshakes. A node that was away has lost its sessions, and the
 * others would go on sending into theirs for fifteen seconds before they ask (WireGuard's
 * keepalive and rekey timeouts): so it speaks first.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

/** RFC 863: whoever gets it throws it away. */
const discardPort = 9
/** All at once would be a burst of handshakes; the others are woken by their own traffic. */
const wokenMax = 256

/** Speaks to these IPv4 addresses of the mesh. */
export async function wake(addresses: readonly string[]): Promise<void> {
  const socket = createSocket('udp4')
  socket.on('error', () => undefined) // there is nothing to do about it: traffic will do the same
  try {
    socket.bind(0)
    await once(socket, 'listening')
    await Promise.all(
      addresses.slice(0, wokenMax).map((address) => {
        const { promise, resolve } = Promise.withResolvers<void>()
        socket.send('', discardPort, address, () => resolve())
        return promise
      }),
    )
  } finally {
    socket.close()
  }
}
