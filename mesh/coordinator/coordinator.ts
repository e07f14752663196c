/** The program that serves from a coordinator's folder of state. */
import { endpointText } from '../entry.ts'
import type { Log } from '../log.ts'
import { Front } from './front.ts'
import { Leaders } from './leaders.ts'
import { JoinLimiter } from './limiter.ts'
import { JoinCounts } from './metrics.ts'
import { Reports } from './reports.ts'
import { type Admit, coordinatorServer } from './server.ts'
import type { CoordinatorState } from './state.ts'
import { Streams } from './streams.ts'

/** How often the file is asked what `edge mesh export` and `remove` changed. */
const refreshIntervalMs = 100

/** How often it is looked who leads. */
const leadersIntervalMs = 500

/** A coordinator that serves. */
export interface RunningCoordinator {
  readonly address: string
  close(): Promise<void>
}

/** Listens on `host` and `port`. */
export async function startCoordinator(
  state: CoordinatorState,
  { host, port, log, admit }: { host: string; port: number; log: Log; admit?: Admit | undefined },
): Promise<RunningCoordinator> {
  const { registry } = state
  const streams = new Streams(registry, {
    tell: (...telling) => front.tell(...telling),
    end: (line) => front.end(line),
  })
  const reports = new Reports()
  const isConnected = (id: string): boolean => streams.has(id)
  const leaders = new Leaders({ registry, isConnected, nowMs: performance.now() })
  const parts = {
    streams,
    reports,
    leaders,
    limiter: new JoinLimiter(),
    joins: new JoinCounts(),
    log,
  }
  const server = coordinatorServer({ ...state, ...parts, front: () => front, admit })
  await server.ready()
  const { key, certificate, ticketKeys } = state
  const place = { address: endpointText(host, port), key, certificate, ticketKeys }
  const front = new Front(place, (request, response) => server.routing(request, response), streams)
  let told = registry.version
  const looking = setInterval(() => {
    registry.refresh()
    // Also what others in this program changed: the one that follows a cluster.
    if (registry.version === told) return
    told = registry.version
    streams.changed()
    reports.keepOnly((id) => registry.has(id))
  }, refreshIntervalMs)
  // What it changes is told as every other change is.
  const leading = setInterval(() => leaders.look(performance.now()), leadersIntervalMs)
  return {
    address: `https://${front.address}`,
    async close() {
      clearInterval(looking)
      clearInterval(leading)
      streams.close()
      await front.close()
      await server.close()
    },
  }
}
