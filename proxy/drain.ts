/** The end of serving: nothing new is announced, everything begun is finished. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Wire, health } from './wire.ts'

export interface DrainOptions {
  /**
   * `withdraw`: balancers are told by the health path and have time to look elsewhere; whoever
   * still comes is served. `handover`: a successor has the same ports, so nobody comes any more,
   * and health stays what it is: the node serves on. Without a successor it is `withdraw`.
   */
  readonly mode: 'withdraw' | 'handover'
  readonly delayMs: number
  readonly timeoutMs: number
  /** How long idle connections may still bring a request, and hear that they are to close. */
  readonly idleGraceMs: number
}

const pollMs = 50

type DrainedWire = Pick<Wire, 'setHealth' | 'drain' | 'stopAccepting' | 'activeExchanges' | 'stats'>

/** Ends when no exchange is left, or at the timeout: what is then still running is cut off. */
export async function drain(wire: DrainedWire, options: DrainOptions): Promise<void> {
  const isHandover = options.mode === 'handover' && statsOf(wire).handedOver > 0
  if (!isHandover) wire.setHealth(health.draining)
  if (options.delayMs > 0) await sleep(options.delayMs)
  if (isHandover) wire.stopAccepting()
  wire.drain()
  // One deadline for both waits: a supervisor counts on it.
  const endMs = performance.now() + options.timeoutMs
  await quiet(wire, { endMs, idleGraceMs: options.idleGraceMs })
  // What waits to be accepted still gets its answer.
  if (!isHandover) {
    wire.stopAccepting()
    await quiet(wire, { endMs, idleGraceMs: Math.min(options.idleGraceMs, lastCallMs) })
  }
}

// Connections that came in the last moment: enough for their request to be read.
const lastCallMs = 100

/** No exchange is left, and connections without one had their time. */
async function quiet(
  wire: Pick<Wire, 'activeExchanges' | 'stats'>,
  { endMs, idleGraceMs }: { readonly endMs: number; readonly idleGraceMs: number },
): Promise<void> {
  const begun = performance.now()
  for (;;) {
    const nowMs = performance.now()
    if (nowMs >= endMs) return
    const isIdle = wire.activeExchanges() === 0
    if (isIdle && isDone(wire, nowMs - begun >= idleGraceMs)) return
    await sleep(pollMs)
  }
}

/**
 * Idle TCP connections may be cut after the grace. A QUIC connection ends by itself once its client
 * knows which requests were served (RFC 9114 §5.2): cut before, it would lose those on their way.
 */
function isDone(wire: Pick<Wire, 'stats'>, isGraceOver: boolean): boolean {
  const { connectionsOpen, quic } = statsOf(wire)
  return connectionsOpen === 0 || (isGraceOver && (quic.accepted ?? 0) === (quic.ended ?? 0))
}

/** What the wire counts, as far as an end depends on it. */
export function statsOf(wire: Pick<Wire, 'stats'>): DrainStats {
  return JSON.parse(wire.stats()) as DrainStats
}

interface DrainStats {
  /** Listeners that a successor has copies of. */
  readonly handedOver: number
  readonly connectionsOpen: number
  readonly quic: { readonly accepted?: number; readonly ended?: number }
}
