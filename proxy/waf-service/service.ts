/** The service that proxies ask: a wire with one listener, and a pool of workers behind it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { CompileOptions } from '../../waf/compile/compile-on-thread.ts'
import type { Program } from '../../waf/program.ts'
import { WorkerPool } from '../../waf/pool.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { statsOf } from '../drain.ts'
import type { Logger } from '../log.ts'
import { logPoolEvent } from '../pool-log.ts'
import type { Wire } from '../wire.ts'
import type { WireConfig } from '../wire-config.ts'
import { serviceConfigOf, wireConfigOf } from '../wire-settings.ts'
import { serviceSecret } from './secret.ts'
import { variantNames } from './variant.ts'
import type { AnsweringSetup } from './worker.ts'

const module = new URL('./worker.ts', import.meta.url)
const pollMs = 20

/** What the wire of a service is made of; without a listener it only holds the addon. */
export function serviceWireConfig(config: EdgeConfig, address: string | null): WireConfig {
  const listener = { name: 'waf', kind: 'waf', altSvc: '' } as const
  return {
    ...wireConfigOf(config),
    listeners: address === null ? [] : [{ ...listener, address }],
    sharedPorts: false,
    templates: [],
    service: serviceConfigOf(config, [], serviceSecret(config)),
  }
}

/** What it is started with. */
export interface ServiceOptions {
  readonly config: EdgeConfig
  /** What `program` was compiled from. */
  readonly compiledFrom: CompileOptions
  readonly program: Program
  readonly wire: Wire
  readonly log: Logger
}

/** A service at work. */
export interface RunningService {
  readonly pool: WorkerPool
  /** Fulfilled when a worker hangs in native code: only the end of the process helps. */
  readonly stuck: Promise<'stuck'>
  /** Sends proxies elsewhere, and answers what was asked until then. */
  drain(): Promise<void>
}

/** Starts the workers; ends when each takes questions. */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { config, compiledFrom, program, wire, log } = options
  const { promise: stuck, resolve: reportStuck } = Promise.withResolvers<'stuck'>()
  const variants = variantNames(compiledFrom)
  const pool = new WorkerPool({
    workers: config.waf.workers,
    spawn: (slot) => {
      const setup: AnsweringSetup = { slot, config, program, variants }
      return new Worker(module, { workerData: setup })
    },
    detach: (slot, generation) => wire.detachWorker(slot, generation),
    silence: () => wire.workerSilence(),
    silenceMaxMs: config.waf.workerSilenceMs,
    onEvent: (event) => {
      if (event.type === 'stuck') reportStuck('stuck')
      logPoolEvent(event, log)
    },
    onMessage: () => undefined,
  })
  await pool.start()
  return { pool, stuck, drain: () => drain(options) }
}

async function drain({ config, wire }: ServiceOptions): Promise<void> {
  const { delayMs, timeoutMs } = config.drain
  // Meanwhile names forget this service, and it serves on.
  await sleep(delayMs)
  wire.drain()
  wire.stopAccepting()
  const deadline = performance.now() + timeoutMs
  // A proxy closes its connection when it has the last verdict that it waits for.
  while (statsOf(wire).connectionsOpen > 0 && performance.now() < deadline) await sleep(pollMs)
}
