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
const uriOfH2: Override = {
  protocols: ['h2'],
  reason:
    'the h2 crate holds :path as an http::Uri and resets the stream at < > and ": refused, unseen',
}

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
  '920100-8': {
    protocols: ['h2'],
    reason: 'the h2 crate cuts the fragment of :path before anybody sees it',
  },
  '930120-9': uriOfH2,
  '932236-21': uriOfH2,
  '932250-5': uriOfH2,
  '934100-13': uriOfH2,
  '934100-14': uriOfH2,
  '934100-23': uriOfH2,
  '934130-7': uriOfH2,
  '934160-7': uriOfH2,
  '934160-22': uriOfH2,
  '941160-1': uriOfH2,
  '941240-2': uriOfH2,
}
