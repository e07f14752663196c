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
    {
      name: 'edge_upstream_endpoints',
      help: 'Endpoints of an upstream by why they are used or not.',
      type: 'gauge',
      values: report.flatMap(({ name, endpoints }) =>
        states.map((state) => ({
          labels: { upstream: name, state },
          value: endpoints.filter(({ health }) => health === state).length,
        })),
      ),
    },
    {
      name: 'edge_upstream_endpoint_healthy',
      help: 'Whether an endpoint is used.',
      type: 'gauge',
      values: ofEndpoints(report, ({ health }) => (health === 'healthy' ? 1 : 0)),
    },
    {
      name: 'edge_upstream_ejections_total',
      help: 'How often an endpoint was ejected because requests failed.',
      type: 'counter',
      values: ofEndpoints(report, ({ ejections }) => ejections),
    },
    {
      name: 'edge_upstream_probes_total',
      help: 'Active health checks by their result.',
      type: 'counter',
      values: byLabel('result', { pass: probes.passed, fail: probes.failed }),
    },
    {
      name: 'edge_upstream_lookups_total',
      help: 'Look-ups of the names of endpoints by their result.',
      type: 'counter',
      values: byLabel('result', { found: lookups.found, failed: lookups.failed }),
    },
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
