/**
 * One kind of objects, kept as the API has them: a list once, then a watch that is resumed where it
 * ended. Only when the API no longer knows that place (410 Gone) is there another list.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { reasonOf } from '../waf/reason-of.ts'
import { type Api, ApiError } from './api.ts'
import { Backoff } from './backoff.ts'
import type { Log } from './log.ts'

/** What is kept. */
export interface Kind<T> {
  /** Its name in the API and in metrics: `nodes`. */
  readonly resource: string
  /** The path of its list. */
  readonly path: string
  /** Label selector; '' for all. */
  readonly selector: string
  readonly read: (json: unknown) => T
}

const page = z.object({
  metadata: z.object({ resourceVersion: z.string(), continue: z.string().optional() }),
  items: z.array(z.unknown()).nullable(),
})
const event = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.looseObject({
    code: z.number().optional(),
    message: z.string().optional(),
    metadata: z
      .looseObject({
        name: z.string().optional(),
        namespace: z.string().optional(),
        resourceVersion: z.string().optional(),
      })
      .optional(),
  }),
})
type WatchEvent = z.infer<typeof event>

const pageSize = 500
// Servers end watches after a time of their own choice between 30 and 60 minutes.
const watchSeconds = 1_800

/** The place where a watch goes on is no longer known. */
class Gone extends Error {}

/** The objects of one kind. */
export class Reflector<T extends Named> {
  readonly kind: Kind<T>
  /** Lists so far; more than one means that a watch could not be resumed. */
  lists = 0
  /** Watches begun so far. */
  watches = 0
  /** Objects that were not what their kind says; they are left out. */
  unreadable = 0
  readonly #api: Api
  readonly #log: Log
  readonly #onChange: () => void
  #objects = new Map<string, T>()
  #version: string | null = null

  constructor(kind: Kind<T>, api: Api, { log, onChange }: ReflectorSurroundings) {
    this.kind = kind
    this.#api = api
    this.#log = log
    this.#onChange = onChange
  }

  /** Whether there was ever a whole list. */
  get isSynced(): boolean {
    return this.lists > 0
  }

  /** The objects, as last seen. */
  all(): readonly T[] {
    return [...this.#objects.values()]
  }

  /** Lists and watches until it is told to end; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff()
    while (!signal.aborted) {
      const begun = performance.now()
      try {
        // One after the other is the purpose: list, watch, and watch on.
        // oxlint-disable-next-line no-await-in-loop
        if (this.#version === null) await this.#list()
        // oxlint-disable-next-line no-await-in-loop
        await this.#watch(signal)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof Gone) this.#version = null
        this.#log.warn({ resource: this.kind.resource, reason: reasonOf(error) }, 'watch ended')
      }
      backoff.lasted(performance.now() - begun)
      // oxlint-disable-next-line no-await-in-loop
      await sleep(backoff.nextMs(), undefined, { signal }).catch(() => undefined)
    }
  }

  async #list(): Promise<void> {
    const objects = new Map<string, T>()
    let next = ''
    let version = ''
    do {
      const query = this.#query({
        limit: String(pageSize),
        ...(next === '' ? {} : { continue: next }),
      })
      // oxlint-disable-next-line no-await-in-loop -- each page names the next one
      const { metadata, items } = page.parse(await this.#api.call('GET', query))
      for (const item of items ?? []) this.#put(objects, item)
      version = metadata.resourceVersion
      next = metadata.continue ?? ''
    } while (next !== '')
    this.#objects = objects
    this.#version = version
    this.lists += 1
    this.#onChange()
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const query = this.#query({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version ?? '',
      timeoutSeconds: String(watchSeconds),
    })
    this.watches += 1
    try {
      for await (const json of this.#api.watch(query, signal)) this.#take(event.parse(json))
    } catch (error) {
      if (error instanceof ApiError && error.status === 410) throw new Gone(error.message)
      throw error
    }
  }

  #take({ type, object }: WatchEvent): void {
    if (type === 'ERROR') {
      const reason = object.message ?? 'an error without a message'
      throw object.code === 410 ? new Gone(reason) : new Error(reason)
    }
    if (type === 'DELETED') this.#objects.delete(keyOf(object))
    else if (type !== 'BOOKMARK') this.#put(this.#objects, object)
    // After the object: what could not be read is not asked for again.
    this.#version = object.metadata?.resourceVersion ?? this.#version
    if (type !== 'BOOKMARK') this.#onChange()
  }

  #put(objects: Map<string, T>, json: unknown): void {
    try {
      const object = this.kind.read(json)
      objects.set(keyOf(object), object)
    } catch (error) {
      this.unreadable += 1
      this.#log.warn({ resource: this.kind.resource, reason: reasonOf(error) }, 'unreadable object')
    }
  }

  #query(parameters: Readonly<Record<string, string>>): string {
    const { path, selector } = this.kind
    const all = { ...parameters, ...(selector === '' ? {} : { labelSelector: selector }) }
    return `${path}?${new URLSearchParams(all).toString()}`
  }
}

/** What a reflector reports to. */
export interface ReflectorSurroundings {
  readonly log: Log
  readonly onChange: () => void
}

interface Named {
  readonly metadata?:
    | { readonly name?: string | undefined; readonly namespace?: string | undefined }
    | undefined
}

function keyOf({ metadata }: Named): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
}
