/** What operators see of upstreams: the main thread's view, and what workers have under way. */
import type { Series } from '../metrics.ts'
import type { EndpointHealth } from '../upstream/endpoint-state.ts'
import type { EndpointReport, UpstreamReport, Upstreams } from '../upstream/upstreams.ts'
import { byLabel, sample } from './exposition.ts'
import type { Sample } from './exposition.ts'

const states: readonly EndpointHealth[] = ['healthy', 'unhealthy', 'ejected', 'unresolved']

/** Every sample about endpoints, names and probes. */
export function upstreamSamples(
  upstreams: Pick<Upstreams, 'report' | 'lookups' | 'probes'>,
): Sample[] {
  const report = upstreams.report()
  const { lookups, probes } = upstreams
  return [
    sample(
      'edge_upstream_endpoints',
      'Endpoints of an upstream by why they are used or not.',
      report.flatMap(({ name, endpoints }) =>
        states.map((state) => ({
          labels: { upstream: name, state },
          value: endpoints.filter(({ health }) => health === state).length,
        })),
      ),
    ),
    sample(
      'edge_upstream_endpoint_healthy',
      'Whether an endpoint is used.',
      ofEndpoints(report, ({ health }) => (health === 'healthy' ? 1 : 0)),
    ),
    sample(
      'edge_upstream_ejections_total',
      'How often an endpoint was ejected because requests failed.',
      ofEndpoints(report, ({ ejections }) => ejections),
    ),
    sample(
      'edge_upstream_probes_total',
      'Active health checks by their result.',
      byLabel('result', { pass: probes.passed, fail: probes.failed }),
    ),
    sample(
      'edge_upstream_lookups_total',
      'Look-ups of the names of endpoints by their result.',
      byLabel('result', { found: lookups.found, failed: lookups.failed }),
    ),
    sample(
      'edge_upstream_names_stale',
      'Names whose last look-up failed; their last known addresses are used.',
      lookups.stale,
    ),
  ]
}

function ofEndpoints(
  report: readonly UpstreamReport[],
  value: (endpoint: EndpointReport) => number,
): Sample['values'] {
  return report.flatMap(({ name, endpoints }) =>
    endpoints.map((endpoint) => ({
      labels: { upstream: name, endpoint: endpoint.url },
      value: value(endpoint),
    })),
  )
}

/** The report with the requests that all workers have under way. */
export function withOutstanding(
  report: readonly UpstreamReport[],
  workers: readonly (readonly Series[])[],
) {
  const counts = new Map<string, number>()
  for (const { family, labels, numbers } of workers.flat()) {
    if (family !== 'edge_upstream_outstanding') continue
    const key = labels.join(' ')
    counts.set(key, (counts.get(key) ?? 0) + (numbers[0] ?? 0))
  }
  return report.map(({ name, endpoints }) => ({
    name,
    endpoints: endpoints.map((endpoint) => ({
      ...endpoint,
      outstanding: counts.get(`${name} ${endpoint.url}`) ?? 0,
    })),
  }))
}
