/**
 * Tells when files changed. Folders are watched, not files: editors and ConfigMaps put a new file
 * in place of the old one, and a watch would stay with the old one. Since no watch sees everything
 * (network file systems, links that lead elsewhere), a slow look at the files stands behind it.
 */
import { type FSWatcher, realpathSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { stateOf } from './fingerprint.ts'

/** How changes are looked for. */
export interface WatchOptions {
  readonly onChange: () => void
  /** Files are taken as written when they stayed the same for so long. */
  readonly settleMs?: number
  readonly pollMs?: number
}

// Half-written files are told from whole ones by waiting; what is still half is refused later.
const settleMs = 150
const pollMs = 5_000
// A folder may hold a log as well: its writes must not cost a look each.
const calmMs = 50
// A file that never stops changing must not keep the others from being read.
const settleRoundsMax = 20

/** Watches one set of files after the other; nothing before the first `set`. */
export class FileWatch {
  readonly #options: Required<WatchOptions>
  readonly #watches = new Map<string, FSWatcher>()
  #poll: NodeJS.Timeout | null = null
  #seen = new Map<string, string>()
  #timer: NodeJS.Timeout | null = null

  constructor(options: WatchOptions) {
    this.#options = { settleMs, pollMs, ...options }
  }

  /** These files are read now: what changes from here on is a change for `set`. */
  note(files: readonly string[]): void {
    this.#seen = new Map(files.map((file) => [file, stateOf(file)]))
  }

  /** The files from now on; a change of one that was watched before is not lost. */
  set(files: readonly string[]): void {
    const before = this.#seen
    this.#seen = new Map(files.map((file) => [file, before.get(file) ?? stateOf(file)]))
    const folders = new Set(files.flatMap((file) => foldersOf(file)))
    for (const folder of this.#watches.keys()) {
      if (!folders.has(folder)) this.#forget(folder)
    }
    for (const folder of folders) this.#watch(folder)
    this.#poll ??= setInterval(() => this.#look(), this.#options.pollMs).unref()
    this.#look()
  }

  /** The files are about to be read: what changed so far is no change any more. */
  mark(): void {
    this.#stopTimer()
    this.#seen = this.#now()
  }

  /** Ends all watching. */
  close(): void {
    if (this.#poll !== null) clearInterval(this.#poll)
    this.#stopTimer()
    for (const folder of this.#watches.keys()) this.#forget(folder)
  }

  #watch(folder: string): void {
    if (this.#watches.has(folder)) return
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        this.#timer ??= setTimeout(() => {
          this.#timer = null
          this.#look()
        }, calmMs)
      })
      watcher.on('error', () => this.#forget(folder))
      this.#watches.set(folder, watcher)
    } catch {
      // No such folder, or no watches left: the slow look finds the change all the same.
    }
  }

  #forget(folder: string): void {
    this.#watches.get(folder)?.close()
    this.#watches.delete(folder)
  }

  #look(): void {
    if (this.#timer !== null) return
    const now = this.#now()
    if (differ(now, this.#seen)) this.#settle(now, settleRoundsMax)
  }

  #settle(last: ReadonlyMap<string, string>, rounds: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null
      const now = this.#now()
      if (differ(now, last) && rounds > 0) return this.#settle(now, rounds - 1)
      if (!differ(now, this.#seen)) return
      this.#seen = now
      this.#options.onChange()
    }, this.#options.settleMs)
  }

  #now(): Map<string, string> {
    return new Map([...this.#seen.keys()].map((file) => [file, stateOf(file)]))
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

function differ(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return [...one].some(([file, state]) => other.get(file) !== state)
}

/** Where a change of the file shows: its folder, and that of what it leads to. */
function foldersOf(file: string): string[] {
  const own = dirname(file)
  try {
    return [own, dirname(realpathSync(file))]
  } catch {
    return [own] // it may come
  }
}
