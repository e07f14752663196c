/** Memory that is not kept for later: by V8's heaps, and by the allocator under them. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { releaseCode, releaseMemory } from './wire.ts'

/** How often memory that lies free goes back to the system; it takes about a millisecond. */
const releaseMs = 10_000
/** Code that was used is forgotten at the first of these moments, once in so many, and after a
 * large change. What is used again is mapped again, and stays. */
const codeEveryReleases = 60
/** Between two of these moments a program that waits allocates less than this. */
const quietBytesMax = 8 * 1024 * 1024
/** So much more than after the last one is worth a collection: 40 ms, 120 with 10,000 nodes. */
const grownBytesMin = 4 * 1024 * 1024

/** To be called before the first thread begins, since threads take flags over; ends by a call. */
export function spareMemory(): () => void {
  return spare(releaseMemory)
}

/**
 * The same for a program that mostly waits. What a large change left in the heap is collected once
 * it is quiet again, since V8 does so only when it needs room; and what Node used of its own code
 * to start, or for that change, is used no more.
 */
export function spareIdleMemory(): () => void {
  setFlagsFromString('--expose-gc') // of contexts that are made from now on
  const collect: (how: object) => void = runInNewContext('gc')
  const heap = new IdleHeap()
  let releases = 0
  return spare(() => {
    const isCollecting = heap.isWorthCollecting(heapNow())
    const isCodeDue = isCollecting || releases % codeEveryReleases === 0
    releases += 1
    if (isCollecting) {
      collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
      heap.collected(heapNow())
    }
    releaseMemory()
    if (isCodeDue) releaseCode()
  })
}

function spare(release: () => void): () => void {
  // Heaps grow by 2 MiB before they are cleaned, not by 8 and then to four times of what they hold.
  setFlagsFromString('--optimize-for-size')
  const releasing = setInterval(release, releaseMs).unref()
  return () => clearInterval(releasing)
}

interface HeapSize {
  readonly heldBytes: number
  /** Since the start. */
  readonly allocatedBytes: number
}

function heapNow(): HeapSize {
  const { total_heap_size: heldBytes, total_allocated_bytes: allocatedBytes } = getHeapStatistics()
  return { heldBytes, allocatedBytes }
}

/** Says when the heap of a program that waits holds more than it needs. */
export class IdleHeap {
  #heldBytes = 0
  #allocatedBytes = 0

  /** Asked each time; no while there is work, which a collection would be in the way of. */
  isWorthCollecting({ heldBytes, allocatedBytes }: HeapSize): boolean {
    const isQuiet = allocatedBytes - this.#allocatedBytes < quietBytesMax
    this.#allocatedBytes = allocatedBytes
    return isQuiet && heldBytes >= this.#heldBytes + grownBytesMin
  }

  collected({ heldBytes }: HeapSize): void {
    this.#heldBytes = heldBytes
  }
}
