/** How an agent waits before it asks again. */
import { setTimeout as sleep } from 'node:timers/promises'
import { meshLimits } from './limits.ts'

/** Full jitter: many agents must not come back together. `spreadMs` is the first wait's most. */
export function retryMs(failures: number, spreadMs = 0): number {
  const most = Math.max(200 * 2 ** Math.min(failures, 16), spreadMs)
  return Math.min(most, meshLimits.retryMsMax) * Math.random() + 50
}

/** Ends early, and quietly, at the signal. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: true }).catch(() => undefined)
}
