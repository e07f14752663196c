/** Builds the snapshot by which a worker decides: from the configuration, the program, the port. */
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

/** One frozen snapshot; `loads` outlives it, because exchanges do. */
export function createEdge(setup: WorkerSetup, port: WorkerPort, loads: EndpointLoads): Edge {
  const { config, program } = setup
  const { listen } = config
  return Object.freeze({
    listeners: listenersOf(config).map(({ name }) => name),
    redirect: {
      enabled: listen.redirect && listen.https !== null,
      httpsPort: listen.advertiseHttpsPort ?? (listen.https === null ? 0 : portOf(listen.https)),
    },
    router: new Router(routesOf(config)),
    unrouted: unroutedInspection(config),
    waf: program === null ? null : createWaf(config, program, port),
    onFailure: config.waf.onFailure,
    responseInspectMaxBytes: program?.settings.responseBodyLimitBytes ?? 0,
    policy: { refuse: config.policy.refuse, certificateNames: setup.certificateNames },
    trusted: new TrustedProxies(config.trustedProxies),
    balancer: new Balancer(config.upstreams, setup.upstreams, {
      offset: setup.slot,
      workers: config.waf.workers,
      loads,
      clock: () => performance.now(),
      random: () => Math.random(),
    }),
    errorCodes: wireErrorCodes(),
  })
}

function createWaf(config: EdgeConfig, program: Program, port: WorkerPort): Waf {
  const { logFile, auditLogFile } = config.waf
  return new Waf({
    program,
    scanner: new AddonScanner(port),
    log: logFile === null ? null : new LogFile(logFile),
    audit: auditLogFile === null ? null : new LogFile(auditLogFile),
  })
}
