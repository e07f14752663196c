/** Whether files changed: by their names, sizes and times, never by reading them. */
import { type BigIntStats, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The state of some files. */
export interface Fingerprint {
  /** Equal for equal states. */
  readonly text: string
  /** When the newest one was written. */
  readonly newestMs: number
}

/** Follows symbolic links: a mounted Secret changes by a link that points elsewhere. */
export function fingerprint(files: readonly string[]): Fingerprint {
  let newestMs = 0
  const states = [...new Set(files)].map((file) => {
    const stats = statsOf(file)
    newestMs = Math.max(newestMs, Number(stats?.mtimeMs ?? 0), Number(stats?.ctimeMs ?? 0))
    return `${file} ${textOf(stats)}`
  })
  return { text: states.join('\n'), newestMs }
}

/** The state of one file. */
export function stateOf(file: string): string {
  return textOf(statsOf(file))
}

function textOf(stats: BigIntStats | undefined): string {
  if (stats === undefined) return 'missing'
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`
}

/** The files, and the rules and phrase lists (`@pmFromFile`) in their folders. */
export function siblings(files: readonly string[]): string[] {
  const folders = new Set(files.map((file) => dirname(file)))
  const near = [...folders].flatMap((folder) =>
    namesIn(folder)
      .filter((name) => /\.(?:conf|data)$/.test(name))
      .map((name) => join(folder, name)),
  )
  return [...new Set([...files, ...near])].toSorted()
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return [] // a folder that is gone: the missing files themselves are the change
  }
}

function statsOf(file: string): BigIntStats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false, bigint: true })
  } catch {
    return undefined // a folder on the way became a file, or may no longer be entered
  }
}
