/** Which address a node gets: the one that its name points at, else the next that is free. */
import { createHash } from 'node:crypto'
import { bitsOf, type Prefix } from './prefix.ts'

/**
 * A free address of the network; null when there is none. The same name gets the same one again
 * while it is free, and one that somebody left is seldom the next to be given away.
 */
export function freeAddress(
  network: Prefix,
  name: string,
  isTaken: (value: bigint) => boolean,
): bigint | null {
  const { first, count } = usable(network)
  const digest = createHash('sha256').update(name).digest('hex')
  const start = BigInt(`0x${digest}`) % count
  for (let step = 0n; step < count; step += 1n) {
    const value = first + ((start + step) % count)
    if (!isTaken(value)) return value
  }
  return null
}

/** Without the network's own address and IPv4's broadcast, where there are more than two. */
function usable({ family, value, length }: Prefix): { first: bigint; count: bigint } {
  const all = 1n << BigInt(bitsOf(family) - length)
  if (all <= 2n) return { first: value, count: all }
  return { first: value + 1n, count: all - (family === 4 ? 2n : 1n) }
}
