/**
 * Rendezvous hashing: every key ranks all endpoints, and takes the first. When one endpoint goes,
 * only its keys move, each to the next of its own ranking; weights shift as few keys as they can.
 */

/** FNV-1a over the characters; 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash >>> 0
}

/** What is ranked. */
export interface Ranked {
  readonly seed: number
}

/** The two best places for a key; -1 for what there is not. */
export function rank(
  key: number,
  endpoints: readonly Ranked[],
  weights: readonly number[] | null,
): readonly [first: number, second: number] {
  let first = -1
  let second = -1
  let best = -1
  let next = -1
  endpoints.forEach(({ seed }, place) => {
    const drawn = (mix(key ^ seed) + 0.5) / 2 ** 32
    // -1/ln(x) grows with x, so that equal weights need no logarithm.
    const score = weights === null ? drawn : -(weights[place] ?? 0) / Math.log(drawn)
    if (score > best) {
      second = first
      next = best
      first = place
      best = score
    } else if (score > next) {
      second = place
      next = score
    }
  })
  return [first, second]
}

/** MurmurHash3's finalizer: every bit of the input changes half of the output. */
function mix(hash: number): number {
  let mixed = hash
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
