/** What the coordinator counts, as Prometheus text (exposition format 0.0.4). */
import type { Registry } from './registry.ts'
import type { Reports } from './reports.ts'
import type { Streams } from './streams.ts'

/** How joins ended: `joined`, or the code of the refusal. */
export class JoinCounts {
  readonly #counts = new Map<string, number>()

  add(result: string): void {
    this.#counts.set(result, (this.#counts.get(result) ?? 0) + 1)
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }
}

interface Family {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  /** By the text of their labels. */
  readonly values: Readonly<Record<string, number>>
}

/** The content type of `metricsText`. */
export const metricsType = 'text/plain; version=0.0.4; charset=utf-8'

export function metricsText(
  registry: Registry,
  parts: { readonly streams: Streams; readonly joins: JoinCounts; readonly reports: Reports },
): string {
  const { streams, joins, reports } = parts
  const { delta, snapshot } = streams.told
  const { direct, relay, none } = reports.paths
  const memory = process.memoryUsage.rss()
  const { user, system } = process.cpuUsage()
  const results = [...joins.counts].map(([result, count]) => [`{result="${result}"}`, count])
  const families: readonly Family[] = [
    gauge('edge_mesh_nodes', 'Nodes in the mesh.', registry.count),
    gauge('edge_mesh_streams', 'Agents that are connected.', streams.count),
    // As seed 000's control plane calls them.
    gauge('edgelink_devices_total', 'Devices in the mesh.', registry.count),
    gauge('edgelink_devices_online', 'Devices that are connected.', streams.count),
    gauge('edge_mesh_version', 'The newest version of the table of nodes.', registry.version),
    gauge('edge_mesh_lag', 'Changes that the last agent has not reported.', streams.lag),
    {
      ...gauge('edge_mesh_paths', 'Peers of all nodes by the path to them, as last reported.', 0),
      values: { '{path="direct"}': direct, '{path="relay"}': relay, '{path="none"}': none },
    },
    {
      ...counter('edge_mesh_joins_total', 'Joins by how they ended.'),
      values: Object.fromEntries(results) as Record<string, number>,
    },
    {
      ...counter('edge_mesh_events_total', 'Events written to agents.'),
      values: { '{kind="delta"}': delta.events, '{kind="snapshot"}': snapshot.events },
    },
    {
      ...counter('edge_mesh_event_bytes_total', 'Bytes of these events.'),
      values: { '{kind="delta"}': delta.bytes, '{kind="snapshot"}': snapshot.bytes },
    },
    {
      ...gauge('edge_mesh_locations', 'Locations by how many leaders the coordinator sees.', 0),
      values: locationsOf(registry),
    },
    gauge('process_resident_memory_bytes', 'Resident memory.', memory),
    {
      ...counter('process_cpu_seconds_total', 'Processor time.'),
      values: { '': (user + system) / 1e6 },
    },
  ]
  return families.map(familyText).join('')
}

/** One with fewer than two leaders has nobody who stands in. */
function locationsOf(registry: Registry): Family['values'] {
  const leaders = new Map<string, number>()
  for (const { location, isLeader = false, isAway = false } of registry.entries('all')) {
    if (location === undefined) continue
    leaders.set(location, (leaders.get(location) ?? 0) + Number(isLeader && !isAway))
  }
  const counts = [0, 0, 0]
  for (const count of leaders.values()) {
    const at = Math.min(count, 2)
    counts[at] = (counts[at] ?? 0) + 1
  }
  return Object.fromEntries(counts.map((count, at) => [`{leaders="${at}"}`, count]))
}

function gauge(name: string, help: string, value: number): Family {
  return { name, help, type: 'gauge', values: { '': value } }
}

function counter(name: string, help: string): Omit<Family, 'values'> {
  return { name, help, type: 'counter' }
}

function familyText({ name, type, help, values }: Family): string {
  const lines = Object.entries(values).map(([labels, value]) => `${name}${labels} ${value}\n`)
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}
