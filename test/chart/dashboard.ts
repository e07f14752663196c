/**
 * `helm/files/dashboard.json`: Grafana's dashboard, from a list of panels that people can read.
 * Grafana 10 and later takes it; the data source, namespace, job and pod are chosen in it.
 */

/** A query and how its series are called. */
export interface Query {
  readonly expr: string
  readonly legend: string
}

/** One panel. */
export interface Panel {
  readonly title: string
  readonly description?: string
  readonly kind: 'stat' | 'timeseries' | 'bargauge'
  readonly unit: string
  readonly queries: readonly Query[]
  /** Of 24. */
  readonly width: number
  readonly stacked?: true
  /** A stat's value from which on it is yellow, and red; descending: below which. */
  readonly thresholds?: readonly [warning: number, critical: number]
  readonly decimals?: number
}

/** Panels below one heading. */
export interface Row {
  readonly title: string
  readonly panels: readonly Panel[]
}

const chosen = 'namespace=~"$namespace",job=~"$job",pod=~"$pod"'

/** A family's series of the chosen pods, with further matchers. */
function of(family: string, more = ''): string {
  return `${family}{${chosen}${more === '' ? '' : `,${more}`}}`
}

function rate(by: string, family: string, more = ''): string {
  const grouped = by === '' ? 'sum' : `sum by (${by})`
  return `${grouped} (rate(${of(family, more)}[${interval}]))`
}

function increase(by: string, family: string, over: string): string {
  return `sum by (${by}) (increase(${of(family)}[${over}]))`
}

function quantile(share: number, family: string, by = ''): string {
  const groups = by === '' ? 'le' : `le, ${by}`
  return `histogram_quantile(${share}, ${rate(groups, `${family}_bucket`)})`
}

const percentiles = (family: string): readonly Query[] =>
  [0.5, 0.9, 0.99].map((share) => ({ expr: quantile(share, family), legend: `p${share * 100}` }))

const range = '$__range'
const interval = '$__rate_interval'
const requests = 'edge_http_requests_total'
const verdicts = 'edge_waf_requests_total'

const overview: readonly Panel[] = [
  stat('Requests', 'reqps', rate('', requests)),
  stat('Errors (5xx)', 'percentunit', share(requests, 'code=~"5.."'), {
    thresholds: [0.01, 0.05],
  }),
  stat('Denied by the WAF', 'percentunit', share(verdicts, 'verdict!~"pass|detect"')),
  stat('Slowest of 100 requests', 's', quantile(0.99, 'edge_http_request_duration_seconds')),
  stat('Open connections', 'short', `sum(${of('edge_connections_open')})`),
  stat('Pods', 'short', `count(${of('edge_build_info')})`),
  stat(
    'Certificate ends in',
    's',
    `min(${of('edge_tls_certificate_not_after_timestamp_seconds')}) - time()`,
    { thresholds: [14 * 86_400, 2 * 86_400] },
  ),
  stat(
    'Pods on an old configuration',
    'short',
    `sum(1 - ${of('edge_config_last_reload_successful')})`,
    { thresholds: [1, 1] },
  ),
]

/** What the dashboard shows, from top to bottom. */
export const rows: readonly Row[] = [
  { title: 'Overview', panels: overview },
  {
    title: 'Requests',
    panels: [
      series('Requests by protocol', 'reqps', [
        { expr: rate('protocol', requests), legend: '{{protocol}}' },
      ]),
      series('Answers by status', 'reqps', [{ expr: rate('code', requests), legend: '{{code}}' }], {
        stacked: true,
      }),
      series('Duration', 's', percentiles('edge_http_request_duration_seconds')),
      series('Body bytes', 'Bps', [
        { expr: rate('', 'edge_http_request_body_bytes_total'), legend: 'received' },
        { expr: rate('', 'edge_http_response_body_bytes_total'), legend: 'sent' },
      ]),
      series('Errors by code', 'reqps', [
        { expr: rate('error', 'edge_errors_total'), legend: '{{error}}' },
      ]),
      series('Refused before any inspection', 'reqps', [
        { expr: rate('error', 'edge_wire_refusals_total'), legend: '{{error}}' },
      ]),
    ],
  },
  {
    title: 'WAF',
    panels: [
      series('Requests by verdict', 'reqps', [
        { expr: rate('verdict', verdicts), legend: '{{verdict}}' },
      ]),
      {
        title: 'Rules that matched most',
        kind: 'bargauge',
        unit: 'short',
        width: 8,
        queries: [
          {
            expr: `topk(10, ${increase('rule_id', 'edge_waf_rule_matches_total', range)})`,
            legend: '{{rule_id}}',
          },
        ],
      },
      series('Inspection, 99 of 100 by phase', 's', [
        {
          expr: quantile(0.99, 'edge_waf_inspection_duration_seconds', 'phase'),
          legend: 'phase {{phase}}',
        },
      ]),
      series('Workers replaced', 'short', [
        {
          expr: increase('pod', 'edge_waf_worker_restarts_total', interval),
          legend: '{{pod}}',
        },
      ]),
      series('Bodies held for inspection', 'bytes', [
        { expr: `sum by (pod) (${of('edge_inspected_bodies_bytes')})`, legend: '{{pod}}' },
      ]),
      series('Persistent collections', 'short', [
        { expr: `sum by (pod) (${of('edge_waf_collections')})`, legend: '{{pod}}' },
      ]),
    ],
  },
  {
    title: 'Upstreams',
    panels: [
      series('Requests by upstream and status', 'reqps', [
        {
          expr: rate('upstream, code', 'edge_upstream_requests_total'),
          legend: '{{upstream}} {{code}}',
        },
      ]),
      series('First byte, 99 of 100', 's', [
        {
          expr: quantile(0.99, 'edge_upstream_first_byte_seconds', 'upstream'),
          legend: '{{upstream}}',
        },
      ]),
      series('Requests under way by endpoint', 'short', [
        { expr: `sum by (endpoint) (${of('edge_upstream_outstanding')})`, legend: '{{endpoint}}' },
      ]),
      series('Endpoints by state', 'short', [
        {
          expr: `max by (upstream, state) (${of('edge_upstream_endpoints')})`,
          legend: '{{upstream}} {{state}}',
        },
      ]),
      series('Retries and ejections', 'reqps', [
        {
          expr: rate('upstream', 'edge_upstream_retries_total'),
          legend: '{{upstream}} sent again',
        },
        {
          expr: rate('upstream', 'edge_upstream_ejections_total'),
          legend: '{{upstream}} ejections',
        },
      ]),
      series('Connections to endpoints', 'reqps', [
        { expr: rate('', 'edge_upstream_connects_total'), legend: 'opened' },
        { expr: rate('', 'edge_upstream_reuses_total'), legend: 'used again' },
      ]),
    ],
  },
  {
    title: 'Connections of clients',
    panels: [
      series('Accepted by protocol', 'cps', [
        { expr: rate('protocol', 'edge_connections_total'), legend: '{{protocol}}' },
      ]),
      series('TLS handshakes on TCP', 'cps', [
        { expr: rate('', 'edge_tls_handshakes_total'), legend: 'completed' },
        { expr: rate('', 'edge_tls_handshake_failures_total'), legend: 'failed' },
      ]),
      series('QUIC datagrams', 'pps', [
        { expr: rate('', 'edge_quic_datagrams_in_total'), legend: 'received' },
        { expr: rate('', 'edge_quic_datagrams_out_total'), legend: 'sent' },
      ]),
    ],
  },
  {
    title: 'Pods',
    panels: [
      series('CPU', 'short', [
        { expr: rate('pod', 'process_cpu_seconds_total'), legend: '{{pod}}' },
      ]),
      series('Memory', 'bytes', [
        { expr: `sum by (pod) (${of('process_resident_memory_bytes')})`, legend: '{{pod}}' },
      ]),
      series('Open connections', 'short', [
        { expr: `sum by (pod) (${of('edge_connections_open')})`, legend: '{{pod}}' },
      ]),
    ],
  },
]

function share(family: string, more: string): string {
  return `(${rate('', family, more)} or vector(0)) / (${rate('', family)} > 0) or vector(0)`
}

function stat(title: string, unit: string, expr: string, more: Partial<Panel> = {}): Panel {
  return { title, kind: 'stat', unit, width: 3, queries: [{ expr, legend: '' }], ...more }
}

function series(
  title: string,
  unit: string,
  queries: readonly Query[],
  more: Partial<Panel> = {},
): Panel {
  return { title, kind: 'timeseries', unit, width: 8, queries, ...more }
}

const heights: Readonly<Record<Panel['kind'], number>> = { stat: 4, timeseries: 8, bargauge: 8 }
const source = { type: 'prometheus', uid: '${datasource}' }

/** The dashboard's text. */
export function dashboard(): string {
  const panels: object[] = []
  let id = 0
  let y = 0
  for (const { title, panels: below } of rows) {
    const gridPos = { x: 0, y, w: 24, h: 1 }
    panels.push({ id: ++id, type: 'row', title, collapsed: false, gridPos, panels: [] })
    y += 1
    let x = 0
    let height = 0
    for (const panel of below) {
      if (x + panel.width > 24) {
        y += height
        x = 0
      }
      height = heights[panel.kind]
      panels.push(written(panel, ++id, { x, y, w: panel.width, h: height }))
      x += panel.width
    }
    y += height
  }
  const variables = [
    { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
    variable('namespace', 'Namespace', 'label_values(edge_build_info, namespace)'),
    variable('job', 'Job', 'label_values(edge_build_info{namespace=~"$namespace"}, job)'),
    variable(
      'pod',
      'Pod',
      'label_values(edge_build_info{namespace=~"$namespace",job=~"$job"}, pod)',
    ),
  ]
  const document = {
    uid: 'quic-proxy-waf',
    title: 'quic-proxy-waf',
    description: 'Requests, WAF, upstreams and connections of the edge proxy',
    tags: ['quic-proxy-waf', 'waf', 'proxy'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: { list: variables },
    annotations: { list: [] },
    panels,
  }
  return `${JSON.stringify(document, null, 1)}\n`
}

function variable(name: string, label: string, query: string): object {
  return {
    name,
    label,
    type: 'query',
    datasource: source,
    definition: query,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
  }
}

function written(panel: Panel, id: number, gridPos: object): object {
  const { title, description, kind, unit, queries, thresholds, decimals, stacked } = panel
  const custom = {
    fillOpacity: stacked ? 40 : 10,
    showPoints: 'never',
    stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
  }
  return {
    id,
    type: kind,
    title,
    ...(description === undefined ? {} : { description }),
    gridPos,
    datasource: source,
    fieldConfig: {
      defaults: {
        unit,
        ...(unit.startsWith('percent') || kind === 'stat' ? {} : { min: 0 }),
        ...(decimals === undefined ? {} : { decimals }),
        ...(kind === 'timeseries' ? { custom } : {}),
        thresholds: { mode: 'absolute', steps: stepsOf(thresholds) },
      },
      overrides: [],
    },
    options: optionsOf(kind),
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCodePoint(65 + index),
      datasource: source,
      expr,
      legendFormat: legend === '' ? '__auto' : legend,
      ...(kind === 'timeseries' ? { range: true } : { instant: true, range: false }),
    })),
  }
}

/** Green, yellow and red upwards, or downwards when less is worse. */
function stepsOf(thresholds: Panel['thresholds']): object[] {
  if (thresholds === undefined) return [{ color: 'blue', value: null }]
  const [warning, critical] = thresholds
  if (warning > critical) {
    const steps = [{ color: 'red', value: null }]
    return [...steps, { color: 'yellow', value: critical }, { color: 'green', value: warning }]
  }
  const steps = [{ color: 'green', value: null }]
  if (warning === critical) return [...steps, { color: 'red', value: critical }]
  return [...steps, { color: 'yellow', value: warning }, { color: 'red', value: critical }]
}

function optionsOf(kind: Panel['kind']): object {
  const reduceOptions = { calcs: ['lastNotNull'], fields: '', values: false }
  if (kind === 'stat') return { reduceOptions, colorMode: 'value', graphMode: 'none' }
  if (kind === 'bargauge') {
    return { reduceOptions, orientation: 'horizontal', displayMode: 'basic', showUnfilled: false }
  }
  return {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
    tooltip: { mode: 'multi', sort: 'desc' },
  }
}
