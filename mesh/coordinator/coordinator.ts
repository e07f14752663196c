/** The program that serves from a coordinator's folder of state. */
import type { Log } from '../log.ts'
import { type Admit, coordinatorServer } from './server.ts'
import type { CoordinatorState } from './state.ts'
import { Streams } from './streams.ts'

/** How often the file is asked what `edge mesh export` and `remove` changed. */
const refreshIntervalMs = 500

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
  const streams = new Streams(registry)
  const server = coordinatorServer({ ...state, streams, log, admit })
  const address = await server.listen({ host, port })
  const looking = setInterval(() => {
    registry.refresh()
    streams.changed()
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
