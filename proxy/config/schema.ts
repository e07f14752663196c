/** The one truth about the configuration: every key of `edge.yaml` with its meaning and default. */
import { decoding } from './decoding-schema.ts'
import { z } from 'zod'
import { events } from './events-schema.ts'
import {
  address,
  adminAddress,
  choice,
  count,
  duration,
  flag,
  hostPattern,
  name,
  network,
  path,
  pathPrefix,
  size,
  threads,
} from './fields.ts'
import { neighbours } from './neighbours-schema.ts'
import { serverId } from './server-id.ts'
import { service } from './service-schema.ts'
import { collections, rbl } from './state-schema.ts'
import { tuningKeys } from './tuning-schema.ts'
import { upstream } from './upstream-schema.ts'

/** What the WAF does with a request that reaches the threshold. */
const mode = () => choice(['block', 'detect', 'off'])

const listen = z.strictObject({
  http: address().nullable().prefault('0.0.0.0:80').describe('HTTP in clear; null: none'),
  https: address()
    .nullable()
    .prefault('0.0.0.0:443')
    .describe('HTTP/1.1 and HTTP/2 on TCP, HTTP/3 on UDP of the same port; null: none'),
  advertiseHttpsPort: count(1, 65_535)
    .nullable()
    .prefault(null)
    .describe('Port in redirects and Alt-Svc when clients see another one; null: that of https'),
  redirect: flag().prefault(true).describe('Answer requests in clear with 308 to https'),
  shared: flag()
    .prefault(false)
    .describe('A second edge of the same user may serve the same ports: for a handover'),
})

const certificate = z.strictObject({
  certFile: path().describe('PEM file: the certificate, then its chain'),
  keyFile: path().describe('PEM file: the private key'),
})

const tls = z.strictObject({
  certificates: z
    .array(certificate)
    .max(1000)
    .prefault([])
    .describe('The first one is the default; none: the paths of seed 001, else a local CA'),
  whenMissing: choice(['refuse', 'self-signed'])
    .prefault('refuse')
    .describe(
      'Of all these files none is there: refuse to start, or use a local CA until they are',
    ),
  ticketKeyFile: path()
    .nullable()
    .prefault(null)
    .describe('Base64 of 48 bytes a line: the first seals session tickets, all open; null: own'),
  earlyData: z
    .boolean()
    .prefault(false)
    .describe('Take GET, HEAD and OPTIONS before the QUIC handshake is done; they may be replays'),
})

const quic = z.strictObject({
  serverId: serverId()
    .nullable()
    .prefault(null)
    .describe(
      'Server id in connection ids, for balancers that route by it (QUIC-LB, not encrypted): ' +
        '0x and 16 digits, base64 of 8 bytes, env:NAME or file:/PATH; null: none',
    ),
  neighbours: neighbours.prefault({}).describe('Other edges of this node, while one takes over'),
})

const route = z
  .strictObject({
    name: name().describe('Name in logs and metrics'),
    hosts: z.array(hostPattern()).min(1).prefault(['']).describe('Hosts; "" matches any'),
    path: pathPrefix().prefault('/').describe('Path prefix, matched on whole segments'),
    upstream: name().describe('Name of the upstream'),
    waf: z
      .strictObject({
        mode: mode().nullable().prefault(null).describe('null: that of waf.mode'),
        paranoia: count(1, 4)
          .nullable()
          .prefault(null)
          .describe('Blocking paranoia level; null: that of waf.paranoia and the setup files'),
        ...tuningKeys,
      })
      .prefault({}),
    inspectMax: size().prefault('10MiB').describe('Longest request body that the WAF reads'),
    overInspectMax: choice(['reject', 'stream'])
      .prefault('reject')
      .describe('A longer body: refuse it with 413, or stream it after its head was inspected'),
    bodyMax: size().prefault('10MiB').describe('Longest request body in all'),
    stream: flag()
      .prefault(false)
      .describe('Stream every body; the WAF inspects heads only, as it does for gRPC and upgrades'),
    websocket: flag().prefault(true).describe('WebSockets may be opened'),
    inspectOtherBodies: flag()
      .prefault(true)
      .describe(
        'Inspect bodies that are neither form, multipart, JSON nor XML, as ModSecurity does',
      ),
  })
  .transform(({ inspectMax, bodyMax, ...rest }) => ({
    ...rest,
    inspectMaxBytes: inspectMax,
    bodyBytesMax: bodyMax,
  }))

const waf = z
  .strictObject({
    mode: mode().prefault('block').describe('Block, only log, or do not inspect'),
    rules: path().nullable().prefault(null).describe('CRS folder; null: that of `edge rules`'),
    paranoia: count(1, 4).nullable().prefault(null).describe('Blocking paranoia level'),
    ...tuningKeys,
    cache: flag().prefault(true).describe('Keep compiled rules on disk, for a quick start'),
    cacheDir: path()
      .nullable()
      .prefault(null)
      .describe('Folder for them; null: that of systemd, else of the user (XDG)'),
    setupFiles: z.array(path()).prefault([]).describe('SecLang files before the rules; they win'),
    baseFile: path().nullable().prefault(null).describe('Replaces waf/base.conf'),
    logFile: path().nullable().prefault(null).describe('One text line per matched rule'),
    auditLogFile: path().nullable().prefault(null).describe('One JSON line per blocked exchange'),
    auditBodyMax: size()
      .prefault('64KiB')
      .describe('Most bytes of a body in an audit record; SecAuditLogParts C, E, I ask for them'),
    events: events.prefault({}).describe('Exchanges that `edge explain` can tell about'),
    onFailure: choice(['deny', 'pass'])
      .prefault('deny')
      .describe('What happens to a request that cannot be inspected'),
    budget: duration()
      .prefault('250ms')
      .describe('Longest inspection of one request, as CPU time of its thread'),
    workers: threads().prefault('auto').describe('Threads that inspect'),
    workerSilence: duration()
      .prefault('3s')
      .describe('A worker that has work and is silent for longer is replaced'),
    decoding: decoding.prefault({}).describe('Bodies with a Content-Encoding'),
    collections: collections.prefault({}).describe('What rules remember beyond one request'),
    service: service.prefault({}).describe('Inspection by a program of its own'),
    rbl: rbl.prefault({}).describe('Lookups for @rbl; a request never waits for one'),
    geoDatabase: path().nullable().prefault(null).describe('MaxMind database of @geoLookup'),
  })
  .transform(({ budget, workerSilence, auditBodyMax, ...rest }) => ({
    ...rest,
    auditBodyBytesMax: auditBodyMax,
    budgetMs: budget,
    workerSilenceMs: workerSilence,
  }))

const refusal = (meaning: string, isRefused = true) => flag().prefault(isRefused).describe(meaning)

const policy = z.strictObject({
  refuse: z
    .strictObject({
      encodedSlash: refusal('%2f or %5c in the path'),
      dotSegments: refusal('/./ or /../ in the path, encoded or not'),
      nul: refusal('%00 in the target'),
      backslash: refusal('A backslash in the target'),
      underscoreName: refusal('A header name with _; else that header is dropped', false),
      oddHost: refusal('A Host that is no name or address'),
      fragment: refusal('# in the target'),
      unknownMethod: refusal('A method that is not registered'),
      badEscape: refusal('% without two hexadecimal digits in the path'),
      controlOrNonAscii: refusal('A control character or a byte over 7f in the target'),
    })
    .prefault({}),
})

const drain = z
  .strictObject({
    mode: choice(['withdraw', 'handover'])
      .prefault('withdraw')
      .describe('withdraw: health says draining, serve on; handover: to a successor on the ports'),
    delay: duration().prefault('0s').describe('Health says draining, all is still served'),
    timeout: duration().prefault('25s').describe('Longest wait for exchanges to end'),
    idleGrace: duration()
      .prefault('1s')
      .describe('Time in which idle connections may still send a request, which closes them'),
  })
  .transform(({ mode, delay, timeout, idleGrace }) => ({
    mode,
    delayMs: delay,
    timeoutMs: timeout,
    idleGraceMs: idleGrace,
  }))

const mesh = z.strictObject({
  stateDir: path()
    .nullable()
    .prefault(null)
    .describe('Folder of the agent (`edge mesh up --state`), for endpoints mesh://NODE:PORT'),
})

const reload = z.strictObject({
  watch: flag().prefault(true).describe('Changed files reload by themselves; SIGHUP always does'),
})

const log = z.strictObject({
  level: choice(['debug', 'info', 'warn', 'error']).prefault('info').describe('Least level'),
  access: flag().prefault(true).describe('One JSON line per exchange'),
})

const limits = z
  .strictObject({
    headerMax: size().prefault('32KiB').describe('All headers of a request'),
    headerLineMax: size().prefault('8KiB').describe('One header, or the request line'),
    headerCountMax: count(1, 10_000).prefault(100).describe('Headers of a request'),
    headerTimeout: duration().prefault('10s').describe('Time for the headers of a request'),
    handshakeTimeout: duration().prefault('10s').describe('Time for the TLS handshake'),
    keepAliveIdleTimeout: duration().prefault('60s').describe('Silence between requests'),
    bodyIdleTimeout: duration().prefault('30s').describe('Silence within a request body'),
    requestsPerConnectionMax: count(1, 1e9).prefault(1000).describe('Requests per connection'),
    connectionsMax: count(1, 1e6).prefault(10_000).describe('Connections of all clients'),
    h2StreamsMax: count(1, 10_000).prefault(100).describe('HTTP/2 streams per connection'),
    quicStreamsMax: count(1, 10_000).prefault(100).describe('HTTP/3 streams per connection'),
    quicIdleTimeout: duration().prefault('30s').describe('Silence of a QUIC connection'),
    inspectedBodiesMax: size().prefault('64MiB').describe('Memory for bodies under inspection'),
    workerQueueMax: count(1, 1e6).prefault(1024).describe('Exchanges waiting for one WAF worker'),
    workerWaitTimeout: duration().prefault('10s').describe('Longest wait for a WAF worker'),
    upstreamIdleTimeout: duration().prefault('30s').describe('Idle time of a pooled connection'),
    upstreamIdleConnectionsMax: count(0, 1e5).prefault(128).describe('Pooled connections'),
    trailerCountMax: count(0, 1000).prefault(16).describe('Trailers of a request'),
    trailerMax: size().prefault('8KiB').describe('All trailers of a request'),
    bodyRateMin: size()
      .prefault('1KiB')
      .describe('Least bytes of a request body per second, on average; 0: none'),
    bodyRateGrace: duration().prefault('10s').describe('Time before bodyRateMin counts'),
    connectionAgeMax: duration()
      .prefault('1h')
      .describe('Age at which a connection is closed after its exchange'),
    connectionsPerAddressMax: count(1, 1e6)
      .prefault(256)
      .describe('Connections of one IPv4 address or IPv6 /64'),
    connectionMemoryMax: size()
      .prefault('1MiB')
      .describe('Memory that one HTTP/2 or HTTP/3 connection may hold'),
    pressurePercent: count(1, 100)
      .prefault(80)
      .describe('Share of connectionsMax from which idle connections go early'),
    keepAliveIdleTimeoutUnderPressure: duration()
      .prefault('5s')
      .describe('Silence between requests then'),
    streamsMaxUnderPressure: count(1, 10_000)
      .prefault(20)
      .describe('HTTP/2 streams per new connection then'),
    h2StreamWindow: size()
      .prefault('64KiB')
      .describe('HTTP/2 flow control: unread bytes of one stream'),
    h2ConnectionWindow: size()
      .prefault('1MiB')
      .describe('HTTP/2 flow control: unread bytes of a connection'),
    streamResetsMax: count(1, 1e6).prefault(200).describe('Streams a client may cancel at once'),
    streamResetsPerSecond: count(0, 1e6)
      .prefault(20)
      .describe('Streams a client may cancel per second beyond that'),
    controlFramesMax: count(10, 1e6)
      .prefault(500)
      .describe('HTTP/2 frames without use that a client may send at once'),
    controlFramesPerSecond: count(0, 1e6)
      .prefault(50)
      .describe('Such frames per second beyond that'),
    quicRetryFrom: count(0, 1e6)
      .prefault(100)
      .describe('Unfinished QUIC handshakes from which addresses are validated by Retry'),
    quicHandshakesMax: count(1, 1e6).prefault(4096).describe('Unfinished QUIC handshakes in all'),
    quicHandshakesPerAddressMax: count(1, 1e6)
      .prefault(64)
      .describe('Unfinished QUIC handshakes of one IPv4 address or IPv6 /64'),
  })
  .transform(({ headerMax, headerLineMax, inspectedBodiesMax, ...rest }) => {
    const { headerTimeout, handshakeTimeout, keepAliveIdleTimeout, bodyIdleTimeout, ...more } = rest
    const { quicIdleTimeout, workerWaitTimeout, upstreamIdleTimeout, ...others } = more
    const { trailerMax, bodyRateMin, bodyRateGrace, connectionAgeMax, ...rates } = others
    const {
      connectionMemoryMax,
      keepAliveIdleTimeoutUnderPressure,
      h2StreamWindow,
      h2ConnectionWindow,
      ...counts
    } = rates
    return {
      ...counts,
      headerBytesMax: headerMax,
      headerLineBytesMax: headerLineMax,
      inspectedBodiesBytesMax: inspectedBodiesMax,
      headerTimeoutMs: headerTimeout,
      handshakeTimeoutMs: handshakeTimeout,
      keepAliveIdleTimeoutMs: keepAliveIdleTimeout,
      bodyIdleTimeoutMs: bodyIdleTimeout,
      quicIdleTimeoutMs: quicIdleTimeout,
      workerWaitTimeoutMs: workerWaitTimeout,
      upstreamIdleTimeoutMs: upstreamIdleTimeout,
      trailerBytesMax: trailerMax,
      bodyRateBytesMin: bodyRateMin,
      bodyRateGraceMs: bodyRateGrace,
      connectionAgeMaxMs: connectionAgeMax,
      connectionBytesMax: connectionMemoryMax,
      keepAliveIdleTimeoutUnderPressureMs: keepAliveIdleTimeoutUnderPressure,
      h2StreamWindowBytes: h2StreamWindow,
      h2ConnectionWindowBytes: h2ConnectionWindow,
    }
  })

/** The file as a whole. Sections that are not written take their defaults. */
export const schema = z.strictObject({
  listen: listen.prefault({}).describe('Where clients connect'),
  tls: tls.prefault({}).describe('Certificates'),
  quic: quic.prefault({}).describe('HTTP/3 behind a balancer, and beside other edges'),
  routes: z
    .array(route)
    .max(10_000)
    .prefault([])
    .describe('Which requests go to which upstream; none: all go to the only upstream'),
  upstreams: z
    .array(upstream)
    .min(1)
    .max(1000)
    .prefault([{ name: 'default', endpoints: [{ url: 'http://127.0.0.1:8080' }] }])
    .describe('Backends'),
  waf: waf.prefault({}).describe('Inspection'),
  mesh: mesh.prefault({}).describe('Endpoints on other nodes'),
  policy: policy.prefault({}).describe('What is refused although the WAF let it through'),
  trustedProxies: z
    .array(network())
    .max(1000)
    .prefault([])
    .describe('Peers whose X-Forwarded-* headers are believed'),
  wireThreads: threads().prefault('auto').describe('Threads that hold the connections'),
  drain: drain.prefault({}).describe('The end of the program'),
  reload: reload.prefault({}).describe('Changes while the program runs'),
  admin: adminAddress().nullable().prefault(null).describe('Admin API: loopback or unix:PATH'),
  status: address().nullable().prefault(null).describe('Read-only probes and metrics'),
  log: log.prefault({}).describe('Logging'),
  limits: limits.prefault({}).describe('Limits, each with an error of its own'),
})

/** The configuration as the schema gives it, before `resolve` fills what depends on other keys. */
export type ParsedFile = z.output<typeof schema>

/** What the configuration takes from outside of all files. */
export interface Machine {
  readonly processors: number
  readonly testHooks: boolean
}

/** Fills what depends on other keys or on the machine. */
export function resolve(parsed: ParsedFile, machine: Machine) {
  const threads = (wanted: number | 'auto'): number =>
    wanted === 'auto' ? Math.min(64, Math.max(1, machine.processors)) : wanted
  const { listen, waf } = parsed
  const routes = parsed.routes.length > 0 ? parsed.routes : catchAll(parsed)
  return {
    ...parsed,
    listen: { ...listen, redirect: listen.redirect && listen.https !== null },
    wireThreads: threads(parsed.wireThreads),
    waf: { ...waf, workers: threads(waf.workers) },
    routes: routes.map((route) => ({
      ...route,
      waf: { ...route.waf, mode: route.waf.mode ?? waf.mode },
    })),
    testHooks: machine.testHooks,
  }
}

/** The one route when none is written: everything to the only upstream. */
function catchAll({ upstreams }: ParsedFile): ParsedFile['routes'] {
  return upstreams.slice(0, 1).map(({ name }) => route.parse({ name: 'default', upstream: name }))
}

type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T

/** The configuration that the rest of the program trusts; deeply frozen. */
export type EdgeConfig = Frozen<ReturnType<typeof resolve>>
