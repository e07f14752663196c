/** Memory that is not kept for later: by V8's heaps, and by the allocator under them. */
import { setFlagsFromString } from 'node:v8'
import { releaseMemory } from './wire.ts'

/** How often memory that lies free goes back to the system; it takes about a millisecond. */
const releaseMs = 10_000

/** To be called before the first thread begins, since threads take flags over; ends by a call. */
export function spareMemory(): () => void {
  // Heaps grow by 2 MiB before they are cleaned, not by 8 and then to four times of what they hold.
  setFlagsFromString('--optimize-for-size')
  const releasing = setInterval(releaseMemory, releaseMs).unref()
  return () => clearInterval(releasing)
}
