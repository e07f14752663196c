import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** The addon as `native/addon/index.d.ts` describes it. */
export type Addon = typeof import('./addon/index.d.ts')

const here = new URL('.', import.meta.url)

/** The addon files that may be loaded, first choice first. */
function candidates(): string[] {
  const named = process.env['EDGE_ADDON']
  if (named !== undefined && named !== '') return [named]
  return ['addon/edge.node', `prebuilt/edge-${process.platform}-${process.arch}.node`].map((path) =>
    fileURLToPath(new URL(path, here)),
  )
}

/** The addon's file: what it compiles is not what another one compiles. */
export function addonFile(): string {
  const path = candidates().find((file) => existsSync(file))
  if (path !== undefined) return path
  throw new Error(`no addon at ${candidates().join(' or ')}; run: npm run setup`)
}

/**
 * Loads the addon: the file that `EDGE_ADDON` names, else the one built here, else a prebuilt one.
 * Only `proxy/wire.ts` and `waf/scanner.ts` call it. The main thread loads it before any worker
 * and keeps it: Node unloads an addon when its last environment ends, and native threads do not
 * survive that.
 */
export function loadAddon(): Addon {
  const path = addonFile()
  // By `require`, which gives every module of a thread the same classes; it goes by the suffix.
  if (!path.endsWith('.node')) throw new Error(`EDGE_ADDON: ${path} does not end with .node`)
  const addon: Addon = createRequire(import.meta.url)(path)
  return addon
}
