/** What a WAF service answers to an ordinary request, for tests that change parts of it. */
import type { Answer } from './protocol.ts'

export const quiet: Answer = {
  verdict: { action: 'pass' },
  bodyBytesMax: null,
  responseNeed: 'none',
  hold: null,
  told: null,
  log: [],
  audit: [],
}
