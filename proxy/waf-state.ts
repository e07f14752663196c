/** What the WAF remembers from one request to the next, on the main thread's side. */
import type { Sample } from './admin/exposition.ts'
import { type Collections, startCollections } from './collections.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { Logger } from './log.ts'
import { RblLookups } from './rbl.ts'

type Settings = EdgeConfig['waf']

/** Persistent collections and the answers of lists, from the start to the end of the program. */
export class WafState {
  readonly #collections: Collections
  readonly #rbl: RblLookups

  /** Before the first worker: none may write what a file would then put back. */
  constructor(settings: Settings, log: Logger) {
    this.#collections = startCollections(settings.collections, log)
    this.#rbl = new RblLookups(settings.rbl)
  }

  /** A reload: other limits for what is remembered already. */
  configure(settings: Settings): void {
    this.#collections.configure(settings.collections)
    this.#rbl.configure(settings.rbl)
  }

  samples(): Sample[] {
    return [...this.#collections.samples(), ...this.#rbl.samples()]
  }

  /** A successor that starts now finds what there is; the rest follows with `stop`. */
  save(): void {
    this.#collections.save()
  }

  stop(): void {
    this.#collections.stop()
    this.#rbl.stop()
  }
}
