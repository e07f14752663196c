/** The only file of `waf/` that reaches the addon: it runs leaves and decodes their hits. */
import type {
  CollectionStore,
  MatchTrace,
  OfflinePort,
  ReadLimits,
  ReadRequest,
  TextExcerpt,
  TraceAsk,
  WorkerPort,
} from '../native/addon/index.d.ts'
import { loadAddon } from '../native/load.ts'
import type { Addon } from '../native/load.ts'
import { type Program, plansOf } from './program.ts'
import type { Hit } from './scan-plan.ts'

/** Hits in the order of their leaves, or the sign that the time budget is spent. */
export type ScanResult = readonly Hit[] | 'over-budget'

/** What a scan found. Most of it concerns nobody, so texts are decoded only when asked for. */
export interface Scanned {
  /** The leaves that have hits, ascending. */
  readonly leaves: readonly number[]
  /** To be asked for before the scanner is asked for anything else, or never. */
  hits(): readonly Hit[]
}

/** What reasoning needs of the bytes; tests put a fake in its place. */
export interface Scanner {
  /** Every hit of the phase's leaves. */
  scan(handle: number, plan: number, phase: number): Scanned | 'over-budget'
  /** One dynamic leaf with its argument expanded. */
  evaluate(handle: number, query: LeafQuery): ScanResult
  /** One leaf on a text known only here; `argument` '' takes the leaf's own. */
  matchText(query: LeafQuery, text: string): readonly Hit[]
  /** All values of a variable; `selector` '' means the whole collection. */
  variable(handle: number, name: string, selector: string): readonly Hit[]
  setBodyProcessor(handle: number, processor: string): void
  forceBodyVariable(handle: number, on: boolean): void
  setBodyAccess(handle: number, on: boolean): void
  /** From now on rules see the response's body that the wire holds. */
  showResponseBody(handle: number): void
}

/** What evidence and the audit log ask of an exchange, once it is known that they are needed. */
export interface Witness {
  /** How a match came about; null when it cannot be told. */
  trace(handle: number, ask: TraceAsk): MatchTrace | null
  /** The same for a text that was known only while reasoning. */
  traceText(ask: TraceAsk, text: string): MatchTrace | null
  /** The first bytes of the request's or the response's body, in Latin-1. */
  body(handle: number, of: { readonly response: boolean; readonly bytesMax: number }): TextExcerpt
}

export type { MatchTrace, TextExcerpt, TraceAsk } from '../native/addon/index.d.ts'

/** Which leaf to run, with what argument. */
export interface LeafQuery {
  readonly plan: number
  readonly leaf: number
  readonly argument: string
}

/** The addon's part that a worker's port does not carry. */
export type ScanFunctions = Pick<Addon, 'matchText' | 'variableNames'> &
  Partial<Pick<Addon, 'traceText'>>

/** The worker port's part that scanning needs. */
export type ScanPort = Pick<
  WorkerPort,
  | 'scan'
  | 'evaluate'
  | 'variable'
  | 'result'
  | 'setBodyProcessor'
  | 'forceBodyVariable'
  | 'bodyAccess'
> &
  Partial<Pick<WorkerPort, 'trace' | 'bodyExcerpt' | 'showResponseBody'>>

/** A port that no wire feeds: for the engine without a server (waf/offline/engine.ts). */
export function createOfflinePort(): OfflinePort {
  const { OfflinePort: AddonPort } = loadAddon()
  return new AddonPort()
}

/** Reads one HTTP/1.x request from its bytes, as strictly as a connection does. */
export function readRequest(raw: Uint8Array, limits: ReadLimits): ReadRequest {
  return loadAddon().readRequest(raw, limits)
}

/** Reads one request of HTTP/2 or HTTP/3 from its decoded fields, as strictly as a stream does. */
export function readFields(
  http3: boolean,
  fields: [string, string][],
  body: Uint8Array,
  limits: ReadLimits,
): ReadRequest {
  return loadAddon().readFields(http3, fields, body, limits)
}

/** Compiles a scan plan (JSON of `ScanPlan`) for all threads; its id, or throws with the reason. */
export function compileScanPlan(plan: string): number {
  return loadAddon().compilePlan(plan)
}

/** The same beside the thread that asks, on all cores. */
export function compileScanPlanAside(plan: string): Promise<number> {
  return loadAddon().compilePlanAside(plan)
}

/** Gives a compiled plan back; no exchange may use it any more. */
export function dropScanPlan(plan: number): void {
  loadAddon().dropPlan(plan)
}

/** Gives back what a program holds in the addon. */
export function dropPlans(program: Program): void {
  for (const plan of plansOf(program)) dropScanPlan(plan)
}

/** The program's store of persistent collections, or one of its own for a test or a tool. */
export function openCollectionStore(scope: 'shared' | 'own'): CollectionStore {
  const { CollectionStore: Store } = loadAddon()
  return new Store(scope === 'shared')
}

/** The addon's part of `@rbl`: what rules ask, and what they are answered. */
export type RblPort = Pick<
  Addon,
  'rblOnAsked' | 'rblTakeAsked' | 'rblAnswer' | 'rblSetLimits' | 'rblCounts'
>

/** Where the questions of all workers meet; the main thread answers them. */
export function rblPort(): RblPort {
  return loadAddon()
}

/** The members of GEO for an address that `@geoLookup` found. */
export function geoMembers(database: string, address: string): readonly string[] {
  return loadAddon().geoMembers(database, address)
}

const noHits: readonly Hit[] = []
const nothing: Scanned = { leaves: [], hits: () => noHits }
const initialBytes = 64 * 1024
/** A result beyond this gets a buffer of its own, so that one request cannot pin memory. */
const keptBytesMax = 1024 * 1024
const absent = 0xffff_ffff

/** The scanner of one worker. */
export class AddonScanner implements Scanner, Witness {
  readonly #port: ScanPort
  readonly #addon: ScanFunctions
  readonly #names: readonly string[]
  #buffer = new ResultBuffer(initialBytes)

  constructor(port: ScanPort, addon: ScanFunctions = loadAddon()) {
    this.#port = port
    this.#addon = addon
    this.#names = addon.variableNames()
  }

  scan(handle: number, plan: number, phase: number): Scanned | 'over-budget' {
    const length = this.#port.scan(handle, plan, phase, this.#buffer.bytes)
    if (length < 0) return 'over-budget'
    if (length === 0) return nothing
    const buffer = this.#fetched(length)
    const names = this.#names
    return { leaves: buffer.leaves(), hits: () => buffer.hits(length, names) }
  }

  evaluate(handle: number, query: LeafQuery): ScanResult {
    const { plan, leaf, argument } = query
    return this.#fetch(this.#port.evaluate(handle, plan, leaf, argument, this.#buffer.bytes))
  }

  variable(handle: number, name: string, selector: string): readonly Hit[] {
    const result = this.#fetch(this.#port.variable(handle, name, selector, this.#buffer.bytes))
    return result === 'over-budget' ? noHits : result
  }

  matchText(query: LeafQuery, text: string): readonly Hit[] {
    const run = ({ bytes }: ResultBuffer): number =>
      this.#addon.matchText(query.plan, query.leaf, text, query.argument, bytes)
    const length = run(this.#buffer)
    if (length <= 0) return noHits
    if (length <= this.#buffer.bytes.length) return this.#buffer.hits(length, this.#names)
    // `result` belongs to the port, which knows nothing of this text: it is cheaper to run again.
    const buffer = this.#grown(length)
    return buffer.hits(run(buffer), this.#names)
  }

  setBodyProcessor(handle: number, processor: string): void {
    this.#port.setBodyProcessor(handle, processor)
  }

  forceBodyVariable(handle: number, on: boolean): void {
    this.#port.forceBodyVariable(handle, on)
  }

  setBodyAccess(handle: number, on: boolean): void {
    this.#port.bodyAccess(handle, on)
  }

  /** A port that no wire feeds shows it as soon as it has it. */
  showResponseBody(handle: number): void {
    this.#port.showResponseBody?.(handle)
  }

  trace(handle: number, ask: TraceAsk): MatchTrace | null {
    return this.#port.trace?.(handle, ask) ?? null
  }

  traceText(ask: TraceAsk, text: string): MatchTrace | null {
    return this.#addon.traceText?.(ask, text) ?? null
  }

  body(handle: number, of: { readonly response: boolean; readonly bytesMax: number }): TextExcerpt {
    const none = { text: '', offset: 0, length: 0 }
    return this.#port.bodyExcerpt?.(handle, of.response, of.bytesMax) ?? none
  }

  #fetch(length: number): ScanResult {
    if (length < 0) return 'over-budget'
    if (length === 0) return noHits
    return this.#fetched(length).hits(length, this.#names)
  }

  #fetched(length: number): ResultBuffer {
    if (length <= this.#buffer.bytes.length) return this.#buffer
    const buffer = this.#grown(length)
    this.#port.result(buffer.bytes)
    return buffer
  }

  #grown(length: number): ResultBuffer {
    const buffer = new ResultBuffer(2 ** Math.ceil(Math.log2(length)))
    if (buffer.bytes.length <= keptBytesMax) this.#buffer = buffer
    return buffer
  }
}

/**
 * Where the addon packs a result: u32 hitCount, u32 textBytes, per hit [leaf, variable, nameLength,
 * valueLength, captureCount, captureLength…] (a length of all ones: absent), then the texts. The
 * hits of a scan are sorted by leaf.
 */
export class ResultBuffer {
  readonly bytes: Buffer<ArrayBuffer>
  readonly #words: Uint32Array

  constructor(length: number) {
    const memory = new ArrayBuffer(length)
    this.bytes = Buffer.from(memory)
    this.#words = new Uint32Array(memory, 0, length >>> 2)
  }

  /** Each leaf once. */
  leaves(): readonly number[] {
    const words = this.#words
    const leaves: number[] = []
    let last = -1
    let word = 2
    for (let left = words[0] ?? 0; left > 0; left -= 1) {
      const leaf = words[word] ?? absent
      if (leaf !== last) leaves.push(leaf)
      last = leaf
      word += 5 + (words[word + 4] ?? 0)
    }
    return leaves
  }

  /** Everything. One decode for all texts: the hits' own texts are slices of it. */
  hits(length: number, names: readonly string[]): readonly Hit[] {
    const words = this.#words
    const text = this.bytes.toString('latin1', length - (words[1] ?? 0), length)
    return decodeHits(words, text, names)
  }
}

const noCaptures: readonly (string | null)[] = []

function decodeHits(words: Uint32Array, text: string, names: readonly string[]): readonly Hit[] {
  const hitCount = words[0] ?? 0
  const hits: Hit[] = []
  let word = 2
  let from = 0
  const take = (count: number): string => {
    const piece = text.slice(from, from + count)
    from += count
    return piece
  }
  for (let index = 0; index < hitCount; index += 1) {
    const nameBytes = words[word + 2] ?? absent
    const captureCount = words[word + 4] ?? 0
    const name = nameBytes === absent ? null : take(nameBytes)
    const value = take(words[word + 3] ?? 0)
    let captures = noCaptures
    if (captureCount > 0) {
      const lengths = words.subarray(word + 5, word + 5 + captureCount)
      captures = Array.from(lengths, (bytes) => (bytes === absent ? null : take(bytes)))
    }
    const variable = names[words[word + 1] ?? absent] ?? ''
    hits.push({ leaf: words[word] ?? absent, variable, name, value, captures })
    word += 5 + captureCount
  }
  return hits
}
