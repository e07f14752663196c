/** The snapshots by which a worker decides: made of the configuration, the program, the port. */
import assert from 'node:assert'
import { Redaction } from '../waf/evidence/redact.ts'
import { LogFile } from '../waf/log-file.ts'
import type { Program } from '../waf/program.ts'
import { AddonScanner, openCollectionStore } from '../waf/scanner.ts'
import { Waf } from '../waf/waf.ts'
import type { EdgeConfig } from './config/schema.ts'
import { hostPortOf } from './host-port.ts'
import type { ResponseHold } from './plan.ts'
import { Router } from './router.ts'
import { routesOf, unroutedInspection } from './route.ts'
import type { Edge } from './serve.ts'
import { TrustedProxies } from './trust.ts'
import { Balancer } from './upstream/balancer.ts'
import type { EndpointLoads } from './upstream/endpoint-load.ts'
import type { UpstreamState } from './upstream/endpoint-state.ts'
import type { ServiceSettings } from './waf-service/asking.ts'
import { type WorkerPort, wireErrorCodes } from './wire.ts'
import { listenersOf } from './wire-settings.ts'
import type { SwapOrder, WorkerSetup } from './worker-messages.ts'

/** The generations of one worker: the newest snapshot, and which one is which. */
export class Generations {
  readonly #builder: EdgeBuilder
  readonly #known = new Map<Edge, number>()
  readonly #loads: EndpointLoads
  #setup: WorkerSetup
  #edge: Edge

  constructor(setup: WorkerSetup, port: WorkerPort, loads: EndpointLoads) {
    this.#builder = new EdgeBuilder(port, loads)
    this.#loads = loads
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
    this.update(setup.upstreams)
    return true
  }

  /** Exchanges of older generations, too, go where their upstream is now. */
  update(states: readonly UpstreamState[]): void {
    for (const { balancer } of this.#known.keys()) balancer.update(states)
    this.#retainLoads()
  }

  /** The generation of a snapshot that nobody uses any more. */
  forget(edge: Edge): number {
    const generation = this.#known.get(edge)
    assert(generation !== undefined, 'a snapshot is released once')
    this.#known.delete(edge)
    this.#retainLoads()
    return generation
  }

  #retainLoads(): void {
    const current = [...this.#known.keys()].flatMap(({ balancer }) => balancer.endpoints)
    this.#loads.retain(new Set(current))
  }
}

/** Makes one snapshot after the other; what did not change is used again. */
class EdgeBuilder {
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
        httpsPort:
          listen.advertiseHttpsPort ?? (listen.https === null ? 0 : hostPortOf(listen.https).port),
      },
      router: new Router(routesOf(config)),
      unrouted: unroutedInspection(config),
      waf: program === null ? null : this.#wafOf(config, program),
      service: setup.variants === null ? null : this.#serviceOf(config, setup.variants),
      onFailure: config.waf.onFailure,
      responseHold: responseHoldOf(program),
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
    const { logFile, auditLogFile, auditBodyBytesMax, events } = config.waf
    const paths = JSON.stringify([logFile, auditLogFile, auditBodyBytesMax])
    if (this.#waf?.program === program && this.#waf.paths === paths) return this.#waf.waf
    const scanner = new AddonScanner(this.#port)
    const waf = new Waf({
      program,
      scanner,
      witness: scanner,
      redaction: new Redaction(events.redact),
      evidenceLimits: events,
      auditBodyBytesMax,
      log: this.#logAt(logFile),
      audit: this.#logAt(auditLogFile),
      collections: { store: openCollectionStore('shared'), now: () => Date.now() },
    })
    this.#waf = { waf, program, paths }
    return waf
  }

  #serviceOf({ waf }: EdgeConfig, variants: readonly string[]): ServiceSettings {
    return { variants, log: this.#logAt(waf.logFile), audit: this.#logAt(waf.auditLogFile) }
  }

  #logAt(path: string | null): LogFile | null {
    if (path === null) return null
    const log = this.#logs.get(path) ?? new LogFile(path)
    this.#logs.set(path, log)
    return log
  }
}

// Far more media types than anybody lists; the wire asks about what it was not told.
const mediaTypesLengthMax = 4_096

/** Which response bodies the rules read, and how much of them. */
export function responseHoldOf(program: Program | null): ResponseHold {
  const { responseBodyLimitBytes = 0, responseBodyMimeTypes = [] } = program?.settings ?? {}
  const mediaTypes = responseBodyMimeTypes.join(' ').toLowerCase()
  return Object.freeze({
    bytesMax: responseBodyLimitBytes,
    rejectsLonger: false,
    mediaTypes: mediaTypes.length > mediaTypesLengthMax ? '' : mediaTypes,
  })
}
