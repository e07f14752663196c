/**
 * What a worker counts. Plain maps, because every exchange pays for them; the main thread collects
 * them (`admin/exposition.ts`). Labels come from the configuration or from closed sets only: a raw
 * Host, path or method would let clients make series without end.
 */
import type { AccessEntry } from './access-log.ts'
import type { EndpointLoad } from './upstream/endpoint-load.ts'

/** Seconds, as in the OpenTelemetry convention for HTTP. */
const requestBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const
const inspectionBuckets = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
] as const

export interface Family {
  readonly help: string
  readonly labels: readonly string[]
  /** Upper bounds of a histogram; absent for a counter. */
  readonly buckets?: readonly number[]
  /** A number that goes up and down: it ends with its worker. */
  readonly gauge?: true
}

/** Every family that workers count. */
export const families = {
  edge_http_requests_total: {
    help: 'Requests answered, and those refused before any worker saw them.',
    labels: ['listener', 'route', 'method', 'protocol', 'code'],
  },
  edge_http_request_duration_seconds: {
    help: 'From the request head to the end of the response.',
    labels: ['listener', 'route', 'protocol'],
    buckets: requestBuckets,
  },
  edge_http_request_body_bytes_total: {
    help: 'Bytes of request bodies received.',
    labels: ['listener', 'route'],
  },
  edge_http_response_body_bytes_total: {
    help: 'Bytes of response bodies sent.',
    labels: ['listener', 'route'],
  },
  edge_errors_total: {
    help: 'Exchanges that ended with an operating error.',
    labels: ['route', 'error'],
  },
  edge_upstream_requests_total: {
    help: 'Requests sent to an upstream.',
    labels: ['route', 'upstream', 'code'],
  },
  edge_upstream_retries_total: {
    help: 'Attempts beyond the first.',
    labels: ['route', 'upstream'],
  },
  edge_upstream_outstanding: {
    help: 'Requests under way at an endpoint.',
    labels: ['upstream', 'endpoint'],
    gauge: true,
  },
  edge_upstream_first_byte_seconds: {
    help: 'From the forwarding of the request to the first byte of the response.',
    labels: ['route', 'upstream'],
    buckets: requestBuckets,
  },
  edge_waf_requests_total: {
    help: 'Requests by what the WAF decided.',
    labels: ['route', 'mode', 'verdict'],
  },
  edge_waf_rule_matches_total: {
    help: 'Matches of rules that log.',
    labels: ['route', 'rule_id'],
  },
  edge_waf_inspection_duration_seconds: {
    help: 'Time for an inspected step, or for the answer of a WAF service, by its first phase.',
    labels: ['phase'],
    buckets: inspectionBuckets,
  },
  edge_events_lost_total: {
    help: 'Events that a worker lost (queue), or kept without their evidence (evidence).',
    labels: ['reason'],
  },
  edge_access_log_dropped_total: {
    help: 'Access log lines lost because their reader was too slow.',
    labels: [],
  },
} as const satisfies Record<string, Family>

export type FamilyName = keyof typeof families

/** One series: label values in the order of the family, and its numbers. */
export interface Series {
  readonly family: FamilyName
  readonly labels: readonly string[]
  /** A counter: one number. A histogram: a count for each bucket, one for the rest, the sum. */
  readonly numbers: number[]
}

const methods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
])

const noRoute = '_none'

/** The series that exchanges of one kind count in, found once for each kind. */
interface Bundle {
  readonly requests: number[]
  readonly duration: number[]
  readonly requestBytes: number[]
  readonly responseBytes: number[]
  readonly errors: number[] | null
  readonly waf: number[] | null
  readonly upstream: { readonly requests: number[]; readonly firstByte: number[] } | null
}

/** The counters of one worker. */
export class WorkerMetrics {
  readonly #series = new Map<string, Series>()
  readonly #bundles = new Map<string, Bundle>()
  /** By phase. */
  readonly #inspections: (number[] | undefined)[] = []
  /** By route and rule. */
  readonly #matches = new Map<string, Map<number, number[]>>()

  /** All series so far, as plain data that may cross threads. */
  report(): Series[] {
    return [...this.#series.values()]
  }

  /** Counts one exchange at its end. */
  exchange(entry: AccessEntry): void {
    const { upstream, waf } = entry
    const bundle = this.#bundleOf(entry)
    add(bundle.requests, 0, 1)
    observe(bundle.duration, requestBuckets, entry.durationUs / 1e6)
    add(bundle.requestBytes, 0, entry.requestBodyBytes)
    add(bundle.responseBytes, 0, entry.responseBodyBytes)
    if (bundle.errors !== null) add(bundle.errors, 0, 1)
    if (bundle.waf !== null) add(bundle.waf, 0, 1)
    if (bundle.upstream !== null && upstream !== null) {
      add(bundle.upstream.requests, 0, 1)
      const { firstByteUs, attempts } = upstream
      if (firstByteUs !== null)
        observe(bundle.upstream.firstByte, requestBuckets, firstByteUs / 1e6)
      if (attempts > 1) {
        const labels = [entry.route ?? noRoute, upstream.name]
        add(this.#of('edge_upstream_retries_total', labels), 0, attempts - 1)
      }
    }
    const rules = waf?.rules ?? []
    if (rules.length > 0) this.#matched(entry.route ?? noRoute, rules)
  }

  #matched(route: string, rules: readonly number[]): void {
    let known = this.#matches.get(route)
    if (known === undefined) this.#matches.set(route, (known = new Map()))
    for (const id of rules) {
      let numbers = known.get(id)
      if (numbers === undefined) {
        numbers = this.#of('edge_waf_rule_matches_total', [route, String(id)])
        known.set(id, numbers)
      }
      add(numbers, 0, 1)
    }
  }

  /** Counts one stay in the WAF. */
  inspection(phase: number, milliseconds: number): void {
    const family = 'edge_waf_inspection_duration_seconds'
    const numbers = (this.#inspections[phase] ??= this.#of(family, [String(phase)]))
    observe(numbers, inspectionBuckets, milliseconds / 1_000)
  }

  /** Takes over what is under way now. */
  outstanding(loads: Iterable<EndpointLoad>): void {
    for (const [key, { family }] of this.#series) if (isGauge(family)) this.#series.delete(key)
    for (const { upstream, url, outstanding } of loads) {
      add(this.#of('edge_upstream_outstanding', [upstream, url]), 0, outstanding)
    }
  }

  /** Takes over what the recorder of events counts; zeros, too, or alerts would miss the first. */
  eventsLost(lost: Readonly<Record<string, number>>): void {
    for (const [reason, total] of Object.entries(lost)) {
      this.#of('edge_events_lost_total', [reason])[0] = total
    }
  }

  /** Takes over the access log's own count. */
  accessLogDropped(total: number): void {
    this.#of('edge_access_log_dropped_total', [])[0] = total
  }

  #bundleOf(entry: AccessEntry): Bundle {
    const { listener, protocol, status, error, upstream, waf } = entry
    const method = methods.has(entry.method) ? entry.method : '_OTHER'
    const route = entry.route ?? noRoute
    const key =
      `${listener} ${route} ${method} ${protocol} ${status} ${error} ` +
      `${upstream?.name} ${waf?.mode} ${waf?.verdict}`
    const known = this.#bundles.get(key)
    if (known !== undefined) return known
    const code = String(status)
    const bundle: Bundle = {
      requests: this.#of('edge_http_requests_total', [listener, route, method, protocol, code]),
      duration: this.#of('edge_http_request_duration_seconds', [listener, route, protocol]),
      requestBytes: this.#of('edge_http_request_body_bytes_total', [listener, route]),
      responseBytes: this.#of('edge_http_response_body_bytes_total', [listener, route]),
      errors: error === null ? null : this.#of('edge_errors_total', [route, error]),
      waf:
        waf === null ? null : this.#of('edge_waf_requests_total', [route, waf.mode, waf.verdict]),
      upstream:
        upstream === null
          ? null
          : {
              requests: this.#of('edge_upstream_requests_total', [route, upstream.name, code]),
              firstByte: this.#of('edge_upstream_first_byte_seconds', [route, upstream.name]),
            },
    }
    this.#bundles.set(key, bundle)
    return bundle
  }

  #of(family: FamilyName, labels: readonly string[]): number[] {
    const key = `${family}\n${labels.join('\n')}`
    const known = this.#series.get(key)
    if (known !== undefined) return known.numbers
    const buckets = bucketsOf(family).length
    const numbers: number[] = Array.from({ length: buckets === 0 ? 1 : buckets + 2 }, () => 0)
    this.#series.set(key, { family, labels, numbers })
    return numbers
  }
}

/** The upper bounds of a histogram; empty for a counter. */
export function bucketsOf(family: FamilyName): readonly number[] {
  const { buckets }: Family = families[family]
  return buckets ?? []
}

/** Whether a family goes up and down. */
export function isGauge(family: FamilyName): boolean {
  const { gauge }: Family = families[family]
  return gauge === true
}

function add(numbers: number[], index: number, more: number): void {
  numbers[index] = (numbers[index] ?? 0) + more
}

function observe(numbers: number[], buckets: readonly number[], value: number): void {
  let index = 0
  while (index < buckets.length && value > (buckets[index] ?? 0)) index += 1
  add(numbers, index, 1)
  add(numbers, buckets.length + 1, value)
}
