/**
 * Two streams as one connection. Node's own pipes carry these bytes, and not Rust: they are an API
 * server's towards its kubelets and webhooks, some connections, and no client of the edge is among
 * them; in exchange the gateway is the same program on every system.
 */
import type { Duplex } from 'node:stream'

/** Each side's end is told to the other one; a side that breaks takes the other with it. */
export function splice(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to)
    from.on('error', () => to.destroy())
    from.on('close', () => {
      // All that was read before is on its way; a stream that ended is closed by its pipe.
      if (!from.readableEnded) to.destroy()
    })
  }
}
