import { createRequire } from 'node:module'
import { addonFile } from './addon-file.ts'

/** The addon as `native/addon/index.d.ts` describes it. */
export type Addon = typeof import('./addon/index.d.ts')

/**
 * Loads the addon: the file that `EDGE_ADDON` names, else the one built here, else a prebuilt one.
 * Only `proxy/wire.ts`, `waf/scanner.ts`, `mesh/device.ts`, `mesh/carrier.ts`, `mesh/signatures.ts`
 * and `mesh/coordinator/front.ts` call it.
 * The main thread loads it before any worker and keeps it: Node unloads an addon when its last
 * environment ends, and native threads do not survive that.
 */
export function loadAddon(): Addon {
  const path = addonFile()
  // By `require`, which gives every module of a thread the same classes; it goes by the suffix.
  if (!path.endsWith('.node')) throw new Error(`EDGE_ADDON: ${path} does not end with .node`)
  const addon: Addon = createRequire(import.meta.url)(path)
  return addon
}
