/** The program that serves from a coordinator's folder of state. */
import { meshLimits } from '../limits.ts'
import type { Log } from '../log.ts'
import { JoinLimiter } from './limiter.ts'
import { JoinCounts } from './metrics.ts'
import { Reports } from './reports.ts'
import { coordinatorServer } from './server.ts'
import type { CoordinatorState } from './state.ts'
import { Streams } from './streams.ts'

/** How often the file is asked what `edge mesh export` and `remove` changed. */
const refreshIntervalMs = 100

/** A coordinator that serves. */
export interface RunningCoordinator {
  readonly address: string
  close(): Promise<void>
}

/** Listens on `host` and `port`. */
export async function startCoordinator(
  state: CoordinatorState,
  { host, port, log }: { host: string; port: number; log: Log },
): Promise<RunningCoordinator> {
  const { registry } = state
  const streams = new Streams(registry)
  const reports = new Reports()
  const parts = { streams, reports, limiter: new JoinLimiter(), joins: new JoinCounts(), log }
  const server = coordinatorServer({ ...state, ...parts })
  const address = await server.listen({ host, port, backlog: meshLimits.backlogMax })
  const looking = setInterval(() => {
    if (!registry.refresh()) return
    streams.changed()
    reports.keepOnly((id) => registry.has(id))
  }, refreshIntervalMs)
  return {
    address,
    async close() {
      clearInterval(looking)
      streams.close()
      await server.close()
    },
  }
}
