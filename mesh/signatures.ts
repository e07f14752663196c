/** Signatures by the addon: half the time for each, and on all cores. */
import type { SignedText } from '../native/addon/index.d.ts'
import { loadAddon } from '../native/load.ts'

/** Which of these were signed (Ed25519), in their order. */
export function areSigned(all: readonly SignedText[]): readonly boolean[] {
  return loadAddon().verifySignatures(all)
}
