/** Builds the snapshots by which a worker decides: from the configuration, the program, the port. */
import { LogFile } from '../waf/log-file.ts'
import type { Program } from '../waf/program.ts'
import { AddonScanner } from '../waf/scanner.ts'
import { Waf } from '../waf/waf.ts'
import type { EdgeConfig } from './config/schema.ts'
import { Router } from './router.ts'
import { routesOf, unroutedInspection } from './route.ts'
import type { Edge } from './serve.ts'
import { TrustedProxies } from './trust.ts'
import { Balancer } from './upstream/balancer.ts'
import type { EndpointLoads } from './upstream/endpoint-load.ts'
import { type WorkerPort, wireErrorCodes } from './wire.ts'
import { listenersOf, portOf } from './wire-settings.ts'
import type { WorkerSetup } from './worker-messages.ts'

/** Makes one snapshot after the other for one worker; what did not change is used again. */
export class EdgeBuilder {
  readonly #port: WorkerPort
  /** Outlive every snapshot, because exchanges do. */
  readonly #loads: EndpointLoads
  /** By path: a reload opens them anew, because that is when logs are rotated. */
  readonly #logs = new Map<string, LogFile>()
  #waf: { readonly waf: Waf; readonly program: Program; readonly paths: string } | null = null

  constructor(port: WorkerPort, loads: EndpointLoads) {
    this.#port = port
    this.#loads = loads
  }

  /** One frozen snapshot. */
  build(setup: WorkerSetup): Edge {
    const { config, program } = setup
    const { listen } = config
    for (const log of this.#logs.values()) log.reopen()
    return Object.freeze({
      listeners: listenersOf(config).map(({ name }) => name),
      redirect: {
        enabled: listen.redirect && listen.https !== null,
        httpsPort: listen.advertiseHttpsPort ?? (listen.https === null ? 0 : portOf(listen.https)),
      },
      router: new Router(routesOf(config)),
      unrouted: unroutedInspection(config),
      waf: program === null ? null : this.#wafOf(config, program),
      onFailure: config.waf.onFailure,
      responseInspectMaxBytes: program?.settings.responseBodyLimitBytes ?? 0,
      policy: { refuse: config.policy.refuse, certificateNames: setup.certificateNames },
      trusted: new TrustedProxies(config.trustedProxies),
      balancer: new Balancer(config.upstreams, setup.upstreams, {
        offset: setup.slot,
        workers: config.waf.workers,
        loads: this.#loads,
        clock: () => performance.now(),
        random: () => Math.random(),
      }),
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
