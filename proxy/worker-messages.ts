/** What the main thread and its workers say to each other. */
import type { Program } from '../waf/program.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { StoredEvent } from './events/event.ts'
import type { Series } from './metrics.ts'
import type { UpstreamState } from './upstream/endpoint-state.ts'

/** What a worker is born with: plain data. */
export interface WorkerSetup {
  readonly slot: number
  /** Grows with each reload. */
  readonly generation: number
  readonly config: EdgeConfig
  /** Null where the WAF is off for the whole program. */
  readonly program: Program | null
  /** Where a service inspects: its names of the rules, by tuning; else null. */
  readonly variants: readonly string[] | null
  /** Names of each certificate, by the id that the wire reports. */
  readonly certificateNames: readonly (readonly string[])[]
  /** The endpoints at this moment; changes come as messages. */
  readonly upstreams: readonly UpstreamState[]
}

/** A reload: what begins from now on is decided by this. */
export interface SwapOrder {
  readonly kind: 'swap'
  readonly setup: Omit<WorkerSetup, 'slot' | 'program'>
  /** Absent: the program stays, and is not copied to every worker again. */
  readonly program?: Program | null
}

/** Report now. */
export interface ReportRequest {
  readonly kind: 'report'
}

export type ToWorker =
  | ReportRequest
  | SwapOrder
  | { readonly kind: 'stop' }
  /** Something about the endpoints of these upstreams changed. */
  | { readonly kind: 'upstreams'; readonly upstreams: readonly UpstreamState[] }

/** Its counters so far, and the events since its last report. */
export interface WorkerReport {
  readonly kind: 'report'
  readonly series: readonly Series[]
  readonly events: readonly StoredEvent[]
}

export type ToMain =
  /** Read by the pool: the worker takes exchanges. */
  | { readonly type: 'ready'; readonly generation: number }
  | WorkerReport
  /** Requests failed at these endpoints, as often in a row as the configuration bears. */
  | { readonly kind: 'failing'; readonly endpoints: readonly number[] }
  /** No exchange of that generation is left in this worker. */
  | { readonly kind: 'released'; readonly generation: number }
  /** Every line is written. */
  | { readonly kind: 'stopped' }
