/** The persistent collections' side of the main thread: limits, clock, file, and their numbers. */
import type { CollectionStats, CollectionStore } from '../native/addon/index.d.ts'
import { CollectionFile } from '../waf/collections/collection-file.ts'
import { openCollectionStore } from '../waf/scanner.ts'
import { byLabel, sample } from './admin/exposition.ts'
import type { Sample } from './admin/exposition.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { Logger } from './log.ts'

type Settings = EdgeConfig['waf']['collections']

/** What it works with; `now` makes time an argument. */
export interface CollectionsOptions {
  readonly store: Pick<
    CollectionStore,
    'keepChanges' | 'load' | 'setLimits' | 'stats' | 'sweep' | 'takeChanges'
  >
  readonly settings: Settings
  readonly log: Logger
  readonly now: () => number
}

/** Those of the program: read from their file, swept and saved from now on. */
export function startCollections(settings: Settings, log: Logger): Collections {
  const store = openCollectionStore('shared')
  const collections = new Collections({ store, settings, log, now: () => Date.now() })
  collections.start()
  return collections
}

const tickMs = 1_000
// A tenth of a millisecond of the main thread's time; reads and writes remove what they meet.
const sweptPerTick = 1_000

/** The collections of the running program. */
export class Collections {
  readonly #options: CollectionsOptions
  #file: CollectionFile | null = null
  #settings: Settings
  #timer: NodeJS.Timeout | null = null
  #savedMs: number
  #wasFull = false
  #saves = 0
  #failures = 0

  /** Reads the file, if there is to be one. A file that cannot be used never stops the program. */
  constructor(options: CollectionsOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#savedMs = options.now()
    this.configure(options.settings)
    const { file } = options.settings
    if (file !== null) this.#file = this.#open(file)
  }

  /** Begins to sweep and save. */
  start(): void {
    this.#timer = setInterval(() => this.tick(), tickMs)
    this.#timer.unref()
  }

  /** A reload: other limits for the same collections. */
  configure(settings: Settings): void {
    this.#settings = settings
    const { entriesMax, memoryBytesMax, valueBytesMax, membersMax } = settings
    this.#options.store.setLimits({ entriesMax, memoryBytesMax, valueBytesMax, membersMax })
  }

  /** What each second has to be done. */
  tick(): void {
    const { store, log, now } = this.#options
    store.sweep(now(), sweptPerTick)
    const { evicted, entries, bytes } = store.stats()
    if (evicted > 0 && !this.#wasFull) {
      this.#wasFull = true
      const limits = 'raise waf.collections.entriesMax or memoryMax, or open fewer collections'
      log.warn({ entries, bytes, evicted }, `persistent collections are full: ${limits}`)
    }
    // Ticks are a little early or late; an interval of one tick must not become two.
    if (now() - this.#savedMs >= this.#settings.saveIntervalMs - tickMs / 2) this.save()
  }

  /** Writes what has changed to the file. */
  save(): void {
    if (this.#file === null) return
    this.#savedMs = this.#options.now()
    try {
      this.#file.save()
      this.#saves += 1
    } catch (error) {
      this.#failures += 1
      this.#options.log.error({ err: error }, 'collections could not be saved: tried again later')
    }
  }

  /** The last save, and the end. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.save()
    this.#file?.close()
    this.#file = null
  }

  samples(): Sample[] {
    return samplesOf(this.#options.store.stats(), this.#saves, this.#failures)
  }

  #open(path: string): CollectionFile | null {
    const { store, log, now } = this.#options
    try {
      const { file, loaded, broken } = CollectionFile.open(path, store, now())
      if (broken !== null) {
        const { path: aside, reason } = broken
        log.error(
          { file: path, aside, reason },
          'the file of the collections was broken: put aside',
        )
      }
      log.info({ file: path, loaded }, 'collections loaded')
      return file
    } catch (error) {
      this.#failures += 1
      const message = 'the file of the collections cannot be used: they are in memory only'
      log.error({ err: error, file: path }, message)
      return null
    }
  }
}

function samplesOf(stats: CollectionStats, saves: number, failures: number): Sample[] {
  return [
    sample('edge_waf_collections', 'Persistent collections now.', stats.entries),
    sample('edge_waf_collections_bytes', 'Memory that they are counted with.', stats.bytes),
    sample(
      'edge_waf_collections_removed_total',
      'Persistent collections removed: expired, or because the store was full.',
      byLabel('reason', { expired: stats.expired, full: stats.evicted }),
    ),
    sample(
      'edge_waf_collections_refused_total',
      'Writes to persistent collections that were beyond a limit, by that limit.',
      byLabel('limit', { valueMax: stats.valuesRefused, membersMax: stats.membersRefused }),
    ),
    sample('edge_waf_collections_saves_total', 'Saves of their file.', saves),
    sample('edge_waf_collections_save_failures_total', 'Saves that failed.', failures),
  ]
}
