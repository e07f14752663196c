/**
 * Cases whose expectation is not ours, each with the reason. An entry is a decision, never a way to
 * hide a miss.
 */
import type { Protocol } from './transports.ts'

/** Case id → why the case does not count, and on which protocols. */
export interface Override {
  readonly protocols: readonly Protocol[]
  readonly reason: string
}

const everywhere: readonly Protocol[] = ['h1', 'h2', 'h3']
export const overrides: Readonly<Record<string, Override>> = {
  '920100-4': { protocols: everywhere, reason: 'CONNECT is refused with 400 before the WAF' },
  '920181-1': {
    protocols: everywhere,
    reason: 'Content-Length beside Transfer-Encoding is framing doubt: 400 before the WAF',
  },
  '920620-1': {
    protocols: everywhere,
    reason:
      'the case presumes a server that merges two Content-Type fields; the WAF sees both here',
  },
}
