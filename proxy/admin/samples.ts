/** The numbers that the main thread knows by itself: the wire's, the pool's, the program's. */
import { byLabel, sample } from './exposition.ts'
import type { Sample } from './exposition.ts'

/** `Wire.stats()`: numbers, or one level of groups of numbers. */
export type WireStats = Readonly<Record<string, number | Readonly<Record<string, number>>>>

/** How reloads went so far. */
interface ReloadCounts {
  readonly generation: number
  readonly accepted: number
  readonly refused: number
  readonly certificateFailures: number
  readonly last: { readonly ok: boolean; readonly timeMs: number } | null
}

/** What else the main thread knows. */
export interface ProgramState {
  readonly version: string
  readonly rules: string
  readonly startTimeMs: number
  readonly workerRestarts: number
  readonly reloads: ReloadCounts
  readonly events: { readonly count: number; readonly bytes: number; readonly lost: number }
  readonly certificates: readonly { readonly san: string; readonly notAfterMs: number }[]
}

// The wire's names are its own business; these are ours, and stay when the wire's change.
const wireFamilies: Readonly<Record<string, readonly [name: string, help: string]>> = {
  connectionsOpen: ['edge_connections_open', 'Downstream connections open now.'],
  exchangesActive: ['edge_http_requests_active', 'Exchanges begun and not finished.'],
  heldBytes: ['edge_inspected_bodies_bytes', 'Bytes of bodies held for inspection.'],
  handshakes: ['edge_tls_handshakes_total', 'TLS handshakes completed on TCP.'],
  handshakesFailed: ['edge_tls_handshake_failures_total', 'TLS handshakes failed on TCP.'],
  exchanges: ['edge_exchanges_total', 'Exchanges begun.'],
  withdrawn: ['edge_requests_withdrawn_total', 'HTTP/2 requests taken back before they ran.'],
  healthAnswers: ['edge_health_answers_total', 'Health probes answered by the wire.'],
  upstreamConnects: ['edge_upstream_connects_total', 'Connections opened to endpoints.'],
  upstreamReuses: ['edge_upstream_reuses_total', 'Requests sent on a kept connection.'],
  upstreamRetries: ['edge_upstream_connection_retries_total', 'Requests sent once more.'],
  records: ['edge_waf_records_total', 'What workers were told, a crossing each.'],
  batches: ['edge_waf_batches_total', 'Batches in which workers took records.'],
  wakeups: ['edge_waf_wakeups_total', 'Wake-ups of workers.'],
  redelivered: ['edge_waf_redelivered_total', 'Exchanges given to another worker.'],
  serviceConnections: ['edge_waf_service_connections_total', 'Connections to the WAF service.'],
  serviceConnectsFailed: ['edge_waf_service_connect_failures_total', 'Those that failed.'],
  panics: ['edge_wire_panics_total', 'Panics caught in the addon.'],
}

/** Every sample of one scrape. */
export function samplesOf(stats: WireStats, state: ProgramState): Sample[] {
  return [...wireSamples(stats), ...quicSamples(stats), ...programSamples(state)]
}

function wireSamples(stats: WireStats): Sample[] {
  const samples: Sample[] = []
  for (const [field, [name, help]] of Object.entries(wireFamilies)) {
    const value = stats[field]
    if (typeof value === 'number') samples.push(sample(name, help, value))
  }
  const { connections, refusals } = groups(stats)
  samples.push(
    sample(
      'edge_connections_total',
      'Downstream connections accepted.',
      labelled(connections, 'protocol'),
    ),
    sample(
      'edge_wire_refusals_total',
      'Requests that the wire refused before any worker saw them.',
      labelled(refusals, 'error'),
    ),
  )
  return samples
}

function quicSamples(stats: WireStats): Sample[] {
  return Object.entries(groups(stats).quic).map(([field, value]) => {
    const name = `edge_quic_${snakeCase(field)}`
    return sample(name.endsWith('_total') ? name : `${name}_total`, `QUIC: ${field}.`, value)
  })
}

function programSamples(state: ProgramState): Sample[] {
  return [
    sample('edge_build_info', 'Always 1; the labels say what runs.', [
      { labels: { version: state.version, node: process.version, rules: state.rules }, value: 1 },
    ]),
    sample('edge_start_time_seconds', 'Start, as a Unix time.', state.startTimeMs / 1_000),
    sample('edge_waf_worker_restarts_total', 'WAF workers replaced.', state.workerRestarts),
    ...reloadSamples(state.reloads),
    sample('edge_events_held', 'Events in memory.', state.events.count),
    sample('edge_events_held_bytes', 'Memory that they take, about.', state.events.bytes),
    sample(
      'edge_events_unwritten_total',
      'Events that their file did not take.',
      state.events.lost,
    ),
    sample(
      'edge_tls_certificate_not_after_timestamp_seconds',
      'When a certificate ends, as a Unix time.',
      state.certificates.map(({ san, notAfterMs }) => ({
        labels: { san },
        value: notAfterMs / 1_000,
      })),
    ),
    sample('process_resident_memory_bytes', 'Memory in use.', process.memoryUsage.rss()),
    sample('process_cpu_seconds_total', 'CPU time of all threads.', cpuSeconds()),
  ]
}

function reloadSamples(reloads: ReloadCounts): Sample[] {
  const { generation, accepted, refused, certificateFailures, last } = reloads
  return [
    sample(
      'edge_config_reloads_total',
      'Reloads by how they ended.',
      byLabel('result', { accepted, refused }),
    ),
    sample('edge_config_generation', 'Configurations taken since start.', generation),
    sample(
      'edge_config_last_reload_successful',
      'Whether the newest configuration was taken.',
      last?.ok === false ? 0 : 1,
    ),
    sample(
      'edge_certificate_reload_failures_total',
      'Reloads refused because of a certificate.',
      certificateFailures,
    ),
  ]
}

type Groups = Readonly<
  Record<'connections' | 'refusals' | 'quic', Readonly<Record<string, number>>>
>

function groups(stats: WireStats): Groups {
  const group = (name: string): Readonly<Record<string, number>> => {
    const value = stats[name]
    return typeof value === 'object' ? value : {}
  }
  return { connections: group('connections'), refusals: group('refusals'), quic: group('quic') }
}

function labelled(group: Readonly<Record<string, number>>, label: string): Sample['values'] {
  const named = Object.entries(group).map(([name, value]) => [snakeCase(name), value] as const)
  return byLabel(label, Object.fromEntries(named))
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** `h1Tls` → `h1_tls`; names that are upper-case already stay. */
function snakeCase(name: string): string {
  return name === name.toUpperCase()
    ? name
    : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
