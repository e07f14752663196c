/** What a running program cannot take over: sockets, threads, and what they were started with. */
import type { Fault } from './config/faults.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { Loaded } from './load.ts'

const settings: readonly (readonly [path: string, value: (config: EdgeConfig) => unknown])[] = [
  ['listen.http', ({ listen }) => listen.http],
  ['listen.https', ({ listen }) => listen.https],
  ['listen.advertiseHttpsPort', ({ listen }) => listen.advertiseHttpsPort],
  ['mesh.stateDir', ({ mesh }) => mesh.stateDir],
  ['listen.shared', ({ listen }) => listen.shared],
  ['quic.serverId', ({ quic }) => String(quic.serverId)],
  ['quic.neighbours.listen', ({ quic }) => quic.neighbours.listen],
  ['quic.neighbours.address', ({ quic }) => quic.neighbours.address],
  ['wireThreads', ({ wireThreads }) => wireThreads],
  ['waf.workers', ({ waf }) => waf.workers],
  ['waf.workerSilence', ({ waf }) => waf.workerSilenceMs],
  ['waf.service.endpoints', ({ waf }) => waf.service.endpoints.length === 0],
  ['waf.events', ({ waf }) => JSON.stringify(waf.events)],
  ['waf.collections.file', ({ waf }) => waf.collections.file],
  ['admin', ({ admin }) => admin],
  ['status', ({ status }) => status],
  ['log.access', ({ log }) => log.access],
  ['reload.watch', ({ reload }) => reload.watch],
  ['limits.inspectedBodiesMax', ({ limits }) => limits.inspectedBodiesBytesMax],
  ['limits.workerQueueMax', ({ limits }) => limits.workerQueueMax],
]

/** A fault for each setting that differs and cannot be changed without a new program. */
export function unchangeable(running: EdgeConfig, loaded: Loaded): Fault[] {
  const changed = settings.filter(([, value]) => value(running) !== value(loaded.config))
  return changed.map(([path]) => ({
    where: loaded.origins.get(path.split('.')),
    message: `${path} cannot change while the program runs`,
    mend: 'change it back, or restart (with listen.shared: a successor on the same ports)',
  }))
}
