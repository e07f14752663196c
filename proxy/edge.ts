/** The snapshots by which a worker decides: made of the configuration, the program, the port. */
import assert from 'node:assert'
import { LogFile } from '../waf/log-file.ts'
import type { Program } from '../waf/program.ts'
import { AddonScanner } from '../waf/scanner.ts'
import { Waf } from '../waf/waf.ts'
import type { EdgeConfig } from './config/schema.ts'
import { Router } from './router.ts'
import { routesOf, unroutedInspection, upstreamsOf } from './route.ts'
import type { Edge } from './serve.ts'
import { TrustedProxies } from './trust.ts'
import { Balancer } from './upstream/balancer.ts'
import { type WorkerPort, wireErrorCodes } from './wire.ts'
import { listenersOf, portOf } from './wire-settings.ts'
import type { SwapOrder, WorkerSetup } from './worker-messages.ts'

/** The generations of one worker: the newest snapshot, and which one is which. */
export class Generations {
  readonly #builder: EdgeBuilder
  readonly #known = new Map<Edge, number>()
  #setup: WorkerSetup
  #edge: Edge

  constructor(setup: WorkerSetup, port: WorkerPort) {
    this.#builder = new EdgeBuilder(port)
    this.#setup = setup
    this.#edge = this.#builder.build(setup)
    this.#known.set(this.#edge, setup.generation)
  }

  /** The newest snapshot. */
  get edge(): Edge {
    return this.#edge
  }

  /** Takes a reload over; false for one that this worker was born with. */
  take({ setup, program }: SwapOrder): boolean {
    const { slot, generation, program: before } = this.#setup
    if (setup.generation <= generation) return false
    this.#setup = { ...setup, slot, program: program === undefined ? before : program }
    this.#edge = this.#builder.build(this.#setup)
    this.#known.set(this.#edge, setup.generation)
    return true
  }

  /** The generation of a snapshot that nobody uses any more. */
  forget(edge: Edge): number {
    const generation = this.#known.get(edge)
    assert(generation !== undefined, 'a snapshot is released once')
    this.#known.delete(edge)
    return generation
  }
}

/** Makes one snapshot after the other; what did not change is used again. */
class EdgeBuilder {
  readonly #port: WorkerPort
  /** By path: a reload opens them anew, because that is when logs are rotated. */
  readonly #logs = new Map<string, LogFile>()
  #waf: { readonly waf: Waf; readonly program: Program; readonly paths: string } | null = null

  constructor(port: WorkerPort) {
    this.#port = port
  }

  /** One frozen snapshot. */
  build(setup: WorkerSetup): Edge {
    const { config, program } = setup
    const { listen } = config
    const upstreams = upstreamsOf(config, setup.endpointIds)
    for (const log of this.#logs.values()) log.reopen()
    return Object.freeze({
      listeners: listenersOf(config).map(({ name }) => name),
      redirect: {
        enabled: listen.redirect && listen.https !== null,
        httpsPort: listen.advertiseHttpsPort ?? (listen.https === null ? 0 : portOf(listen.https)),
      },
      router: new Router(routesOf(config, upstreams)),
      unrouted: unroutedInspection(config),
      waf: program === null ? null : this.#wafOf(config, program),
      onFailure: config.waf.onFailure,
      responseInspectMaxBytes: program?.settings.responseBodyLimitBytes ?? 0,
      policy: { refuse: config.policy.refuse, certificateNames: setup.certificateNames },
      trusted: new TrustedProxies(config.trustedProxies),
      balancer: new Balancer(upstreams, setup.slot),
      errorCodes: wireErrorCodes(),
    })
  }

  #wafOf(config: EdgeConfig, program: Program): Waf {
    const { logFile, auditLogFile } = config.waf
    const paths = JSON.stringify([logFile, auditLogFile])
    if (this.#waf?.program === program && this.#waf.paths === paths) return this.#waf.waf
    const waf = new Waf({
      program,
      scanner: new AddonScanner(this.#port),
      log: this.#logAt(logFile),
      audit: this.#logAt(auditLogFile),
    })
    this.#waf = { waf, program, paths }
    return waf
  }

  #logAt(path: string | null): LogFile | null {
    if (path === null) return null
    const log = this.#logs.get(path) ?? new LogFile(path)
    this.#logs.set(path, log)
    return log
  }
}
