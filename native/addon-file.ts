/** Where the addon is. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

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
