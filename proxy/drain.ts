/** The end of serving: nothing new is announced, everything begun is finished. */
import { pause } from './supervisor.ts'
import { type Wire, health } from './wire.ts'

export interface DrainOptions {
  /** Health says draining, everything is still served: balancers need time to look. */
  readonly delayMs: number
  readonly timeoutMs: number
}

const pollMs = 50

/** Ends when no exchange is left, or at the timeout: what is then still running is cut off. */
export async function drain(
  wire: Pick<Wire, 'setHealth' | 'drain' | 'activeExchanges'>,
  { delayMs, timeoutMs }: DrainOptions,
): Promise<void> {
  wire.setHealth(health.draining)
  if (delayMs > 0) await pause(delayMs)
  wire.drain()
  const end = performance.now() + timeoutMs
  while (wire.activeExchanges() > 0 && performance.now() < end) await pause(pollMs)
}
