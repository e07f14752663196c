/** What the Rust addon offers to TypeScript. Only `proxy/wire.ts`, `waf/scanner.ts` and `mesh/device.ts` import it. */

/** The wire threads: listeners, TLS, connections. Made once, by the main thread. */
export class Wire {
  /** `config` is the JSON of `WireConfig` (proxy/wire-config.ts). Binds nothing yet; throws on a bad config. */
  constructor(config: string)
  /** Binds every listener and starts the threads; throws with the address and the reason (EADDRINUSE…). Returns the bound addresses, in the order of the listeners. */
  listen(): string[]
  /** JSON of `CertificateSet`; replaces all certificates at once for new handshakes. Throws and keeps the old set when one does not load. */
  setCertificates(certificates: string): void
  /** JSON of `{ tickets: string[], statelessReset?: string }` in base64: keys that several programs share. Ticket keys are 48 bytes (name, AES, HMAC), the first one seals, all open, none: own ones; the reset key is 32. Throws and keeps the old ones when one is malformed. */
  setTicketKeys(keys: string): void
  /** JSON of `WireLimits`; replaces all limits for new connections and requests. Throws and keeps the old ones when they do not parse. */
  setLimits(limits: string): void
  /** JSON of `EndpointConfig[]`; ids in later forward plans refer to the newest table. */
  setEndpoints(endpoints: string): void
  /** JSON of `ServiceConfig`: where the WAF service is asked from now on, and how. */
  setService(service: string): void
  setNeighbours(neighbours: string): void
  /** 0 starting (503), 1 ok (200), 2 draining (503): the answer of /_gwhealthz from now on. */
  setHealth(state: number): void
  /** Announces close on every connection (Connection: close, GOAWAY); accepts on until `activeExchanges` falls to 0. */
  drain(): void
  /** Takes no more TCP connections: accepts those that wait, closes the listeners. QUIC goes on. */
  stopAccepting(): void
  /** Closes the listeners and all connections and ends the threads. */
  stop(): void
  /** Exchanges begun and not finished, over all threads. */
  activeExchanges(): number
  /** For each worker slot: milliseconds for which it had work and neither took nor answered; 0 when idle; -1 when no worker is attached. */
  workerSilence(): number[]
  /** Takes the slot's exchanges away and gives each to another worker once; a second loss refuses it. Called when the worker ended. `generation` guards against a newer worker in the slot. */
  detachWorker(slot: number, generation: number): void
  /** JSON of `WireStats`: counters since start. */
  stats(): string
}

/** One WAF worker's end of the queue. Made in the worker, for its slot. */
export class WorkerPort {
  /** `wake` is called (without arguments, at most once per batch) when there is something to take. */
  constructor(slot: number, wake: () => void)
  readonly generation: number
  /** Copies pending records into `out`; bytes written, 0 when there is none, or minus the size needed. Layout: proxy/batch.ts. */
  take(out: Uint8Array): number
  /** Carries out the plans in the first `length` bytes. Layout: proxy/plan.ts. */
  answer(plans: Uint8Array, length: number): void
  /** Scans the exchange for every leaf of `phase` (1–5) and writes the hits to `out`. Returns the byte length of the result (0: no hit; more than `out` holds: fetch it with `result`), or -1 over the time budget. */
  scan(handle: number, plan: number, phase: number, out: Uint8Array): number
  /** Runs one leaf now with its macro-expanded argument (Latin-1). Result as `scan`. */
  evaluate(handle: number, plan: number, leaf: number, argument: string, out: Uint8Array): number
  /** Every value of one variable, as hits of leaf 0xffffffff without captures: for macros and logdata. `selector` '' means the whole collection. */
  variable(handle: number, name: string, selector: string, out: Uint8Array): number
  /** The last result again, when it did not fit. */
  result(out: Uint8Array): number
  /** `ctl:requestBodyProcessor`: 'URLENCODED' | 'MULTIPART' | 'JSON' | 'XML' | ''. Before the phase 2 scan. */
  setBodyProcessor(handle: number, processor: string): void
  /** `ctl:requestBodyAccess`. */
  bodyAccess(handle: number, on: boolean): void
  /** From now on rules see the response's body: it came with the head, which phase 3 judges alone. */
  showResponseBody(handle: number): void
  /** `ctl:forceRequestBodyVariable`. */
  forceBodyVariable(handle: number, on: boolean): void
  /** How a match of the exchange came about, computed anew; null when it cannot be told (too large, or not there any more). */
  trace(handle: number, ask: TraceAsk): MatchTrace | null
  /** The first bytes of the request's or the response's body, as far as it is held: for the audit log. */
  bodyExcerpt(handle: number, response: boolean, bytesMax: number): TextExcerpt
}

/** A request that no connection carried. Texts are Latin-1, one character per byte. */
export interface OfflineRequest {
  method: string
  target: string
  /** `HTTP/1.1`, `HTTP/2.0`… */
  protocol: string
  /** Name and value, in wire order. */
  headers: [string, string][]
  body?: Uint8Array
  /** False when there is more of the body than is given; default true. */
  bodyComplete?: boolean
  peer: string
  peerPort: number
  local: string
  localPort: number
}

/** The response to one. */
export interface OfflineResponse {
  status: number
  headers: [string, string][]
  body?: Uint8Array
}

/** Inspection without a server: the same code as behind a `WorkerPort`, fed by hand. */
export class OfflinePort {
  constructor()
  /** Takes a request in; its handle, until `end`. */
  begin(request: OfflineRequest): number
  /** Takes the response in; its head counts once, and so does its body. */
  response(handle: number, response: OfflineResponse): void
  end(handle: number): void
  scan(handle: number, plan: number, phase: number, out: Uint8Array): number
  evaluate(handle: number, plan: number, leaf: number, argument: string, out: Uint8Array): number
  variable(handle: number, name: string, selector: string, out: Uint8Array): number
  result(out: Uint8Array): number
  setBodyProcessor(handle: number, processor: string): void
  /** `ctl:requestBodyAccess`. */
  bodyAccess(handle: number, on: boolean): void
  forceBodyVariable(handle: number, on: boolean): void
}

/** Limits on the head of a request that is read from bytes. */
export interface ReadLimits {
  headBytesMax: number
  lineBytesMax: number
  headerCountMax: number
}

/** Why bytes are no request: an error code (`errorNames`) and the rule that they break. */
export interface ReadRefusal {
  code: string
  reason: string
}

/** What `readRequest` read; with a `refusal` nothing else counts. */
export interface ReadRequest {
  refusal?: ReadRefusal
  method: string
  target: string
  protocol: string
  /** Canonical `host[:port]`, '' when there is none. */
  authority: string
  headers: [string, string][]
  hasBody: boolean
  /** Without chunk framing. */
  body: Uint8Array
  bodyComplete: boolean
  bodyRefusal?: ReadRefusal
  /** Content doubts: bits as in the head record (proxy/request.ts). */
  doubts: number
}

/** Reads one HTTP/1.x request from its bytes, as strictly as a connection does. */
export function readRequest(raw: Uint8Array, limits: ReadLimits): ReadRequest
/** Reads one request of HTTP/2 or HTTP/3 from its decoded fields, pseudo-fields first. */
export function readFields(
  http3: boolean,
  fields: [string, string][],
  body: Uint8Array,
  limits: ReadLimits,
): ReadRequest

/** Which match is to be told: of the matches with this leaf, variable, name and value the `nth`. Texts are Latin-1. */
export interface TraceAsk {
  plan: number
  leaf: number
  argument: string
  variable: string
  name?: string
  value: string
  nth: number
  excerptBytesMax: number
}

/** A part of a text, in Latin-1: where it begins, and how long the whole text is. */
export interface TextExcerpt {
  text: string
  offset: number
  length: number
}

/** The value as it came, what each transformation of the leaf made of it (null where nothing changed), and what the operator found in the last text. */
export interface MatchTrace {
  before: TextExcerpt
  steps: (TextExcerpt | null)[]
  spanStart?: number
  spanLength?: number
  captures: TextExcerpt[]
  /** Bytes that were transformed for it; at most 256 KiB, as for one that could not be told. */
  workBytes: number
}

/** Compiles a scan plan (JSON of `ScanPlan`, waf/scan-plan.ts) for all threads; its id. Throws with the leaf's `source` and the reason. */
export function compilePlan(plan: string): number
/** The same on threads of its own. */
export function compilePlanAside(plan: string): Promise<number>
export function dropPlan(plan: number): void
/** Runs a leaf's transformations and operator on a text known only while reasoning (TX, MATCHED_VAR). Result as `scan`, at most one hit per multiMatch step. `argument` '' takes the leaf's own. */
export function matchText(plan: number, leaf: number, text: string, argument: string, out: Uint8Array): number
/** As `WorkerPort.trace`, for a text that was known only while reasoning. */
export function traceText(ask: TraceAsk, text: string): MatchTrace | null
/** Names by index, as used in hits. */
export function variableNames(): string[]
/** Names of operators and transformations that exist, lower-case, for `edge waf lint` and load errors. */
export function operatorNames(): string[]
export function transformationNames(): string[]
/** Names by index, as used in outcome and refusal records. */
export function errorNames(): string[]
/** Known header names by index, as used in head records. */
export function knownHeaders(): string[]
/** Sends a datagram to the service manager; `socket` is the value of NOTIFY_SOCKET. Throws when it cannot be sent. */
export function notify(socket: string, message: string): void
/** malloc_trim(3) of the system's allocator. */
export function releaseMemory(): void
/** Something signed with Ed25519: a key of 32 bytes, a signature of 64. */
export interface SignedText {
  readonly key: Buffer
  readonly text: Buffer
  readonly signature: Buffer
}
/** Which of these the owners of the keys have signed, in their order; on all cores, while the caller waits. */
export function verifySignatures(all: readonly SignedText[]): boolean[]
/** madvise(2) MADV_DONTNEED of the segments of Node, the addon and the libraries that cannot be written. */
export function releaseCode(): void
/** A GET over HTTP/3: `address` with an IP address, `serverName` for SNI ('' for none). */
export interface H3Question {
  readonly address: string
  readonly serverName: string
  readonly authority: string
  readonly path: string
  readonly timeoutMs: number
}
/** The status of the answer, whoever the certificate is for. Blocks the thread until then. */
export function askH3(question: H3Question): number

/** Test hook: makes the calling thread panic inside native code; proves that a panic is caught. */
export function panicForTest(): void

/** How much a store of collections may hold. */
export interface CollectionLimits {
  entriesMax: number
  memoryBytesMax: number
  /** Of one value, and of one member's name. */
  valueBytesMax: number
  membersMax: number
}
/** What a store holds and what it had to do, counted since the start. */
export interface CollectionStats {
  entries: number
  bytes: number
  expired: number
  /** Removed because the store was full. */
  evicted: number
  valuesRefused: number
  membersRefused: number
}
/** What a collection knows of itself. */
export interface CollectionFacts {
  createdMs: number
  updatedMs: number
  timeoutMs: number
  updates: number
}
/** One collection for the file; without a record it is gone. */
export interface CollectionRecord {
  key: string
  record?: string
  updatedMs: number
  expiresMs: number
}
/** Who changes what, when. */
export interface CollectionWrite {
  key: string
  /** Lower-case. */
  name: string
  /** How long a collection lives that this write begins. */
  timeoutMs: number
  nowMs: number
  /** The transaction's first change of the collection. */
  first: boolean
}
/** The persistent collections. Every call is one step that no other thread divides. Texts are well-formed strings; times are milliseconds since the epoch. */
export class CollectionStore {
  /** `shared`: the program's own, one for all threads; else a new one. */
  constructor(shared: boolean)
  setLimits(limits: CollectionLimits): void
  /** Null when nothing was ever written there. */
  facts(key: string, nowMs: number): CollectionFacts | null
  read(key: string, name: string, nowMs: number): string | null
  /** Name, value, name, value… by name. */
  readAll(key: string, nowMs: number): string[]
  /** True when it was carried out: not beyond a limit, and not idle. So do the others. */
  set(write: CollectionWrite, value: string): boolean
  add(write: CollectionWrite, amount: number): boolean
  remove(write: CollectionWrite): boolean
  expire(write: CollectionWrite, endMs: number): boolean
  /** Takes `amount` away for every interval since `seenMs`, never below 0. */
  decay(write: CollectionWrite, amount: number, intervalMs: number, seenMs: number): boolean
  /** Removes at most `max` collections that are over; how many it removed. */
  sweep(nowMs: number, max: number): number
  /** From now on changes are kept for `takeChanges`; what is there counts as changed. */
  keepChanges(): void
  takeChanges(max: number): CollectionRecord[]
  /** Puts a collection back; false when the record is none, or over. */
  load(key: string, record: string, nowMs: number): boolean
  stats(): CollectionStats
}

/** How many answers of `@rbl` may be known, and how many names may wait for one. */
export interface RblLimits {
  cacheMax: number
  pendingMax: number
}
/** What `@rbl` was asked; `known` and `pending` are of now, the others counted since the start. */
export interface RblCounts {
  known: number
  pending: number
  /** Questions whose answer was known. */
  hits: number
  misses: number
  /** Names that nobody looks up because too many wait. */
  dropped: number
  /** Answers forgotten before their time because the cache was full. */
  evicted: number
}
/** `wake` is called when there are names to take; the last one set counts. */
export function rblOnAsked(wake: () => void): void
/** Names to look up; each must be answered. */
export function rblTakeAsked(): string[]
/** The answer to a name that was taken, and how long it holds. */
export function rblAnswer(name: string, listed: boolean, keepMs: number): void
export function rblSetLimits(limits: RblLimits): void
export function rblCounts(): RblCounts
/** The members of GEO for an address, in a database that a plan has open: name, value, name, value… */
export function geoMembers(database: string, address: string): string[]

/** A WireGuard device: interface, port and peers. Each call runs off the JavaScript thread; they are carried out in order. Faults begin with a code and `: ` (native/crates/wireguard/src/error.rs). */
export class WireguardDevice {
  /** JSON of `DeviceDelta` (mesh/reconcile.ts); JSON of `{ network, error }[]`: the addresses and routes that the kernel refused. A delta that is malformed changes nothing. */
  apply(delta: string): Promise<string>
  /** JSON of `PeerStats[]` (mesh/device.ts); fails when the interface is gone. */
  stats(): Promise<string>
  /** Takes the interface away, and with it its addresses and routes. */
  close(): Promise<string>
}
/** `options` is the JSON of `DeviceOptions` (mesh/device.ts). Fails, and makes nothing, when the name or the port is taken. */
export function openWireguard(options: string): Promise<WireguardDevice>
/** The MTU of the interface through which an address is reached; null without a route. */
export function linkMtu(address: string): Promise<number | null>

/** One whole request, with the key that its TLS connection proved. */
export interface FrontRequest {
  /** Without a port. */
  address: string
  /** The Ed25519 key of the certificate that was shown; absent: none, or one of another kind. */
  identity?: Buffer
  method: string
  /** Path and query. */
  target: string
  /** Name, value, name, value… as received; every byte a character. */
  headers: string[]
  body: Buffer
  /** Whether another request may follow. */
  keepAlive: boolean
}
/** `drained`: one that was told too much for its pace has everything now. `gone`: one that was told things has. */
export interface FrontEvent {
  kind: 'asked' | 'drained' | 'gone'
  connection: number
  request?: FrontRequest
}
/** Ends mutual TLS for a coordinator and holds its agents' connections. Every `asked` must be answered once, by `answer` or `open`; what is said to connections that are gone goes nowhere. */
export class Front {
  /** `options` is the JSON of `FrontOptions` (mesh/coordinator/front.ts). `wake` is called when there is something to take and the last `take` had found less than it asked for. */
  constructor(options: string, wake: () => void)
  /** Where it listens: `ADDRESS:PORT`. */
  get address(): string
  take(most: number): FrontEvent[]
  /** A whole response; with `keep` the connection may ask again. */
  answer(connection: number, response: Uint8Array, keep: boolean): void
  /** A response that ends by `end`; `head` is without framing and empty line. */
  open(connection: number, head: string): void
  /** Tells each connection bytes of its own, then those that all are told. Part n of `own` ends at `ends[n]`. Which have too much to read now: they say when they are drained. */
  tell(connections: Uint32Array, ends: Uint32Array, own: Uint8Array, shared: Uint8Array): number[]
  end(connection: number): void
  /** Ends every connection; then the port is free. */
  close(): Promise<void>
}

/** What happened to a carrier. `asks`: a node wants to be carried, and `admit` answers. `opened`: packets pass, and the device finds the other end at `endpoint`. `moved`: the other end has another address. `ended`: it is over, or never began. */
export interface CarrierEvent {
  kind: 'asks' | 'opened' | 'moved' | 'ended'
  carrier: number
  /** Of `asks`: how it came. */
  way?: 'h3' | 'tcp'
  /** Of `asks`: the Ed25519 key that its TLS connection proved. */
  identity?: Buffer
  /** Of all but `ended`: where the other end is. */
  remote?: string
  /** Of `opened`: an address of loopback. */
  endpoint?: string
  /** Of `ended`. */
  reason?: string
  /** Of `ended`: packets that did not fit into its queues. */
  dropped?: number
}
/** Packets of the mesh in HTTP/3 and TCP: all of a node's connections, on a thread of their own. */
export class CarrierThread {
  /** `options` is the JSON of `CarrierOptions` (mesh/carrier.ts). `wake` is called when there is something to take. */
  constructor(options: string, wake: () => void)
  /** Serves others at a port of this machine (0: any); which one it is. Throws when it cannot be had. */
  serve(way: 'h3' | 'tcp', port: number): number
  /** Begins a carrier to a relay at `to` with the device `target` and this identity; its number. */
  connect(way: 'h3' | 'tcp', to: string, target: string, identity: Uint8Array): number
  admit(carrier: number, isMember: boolean): void
  end(carrier: number): void
  take(): CarrierEvent[]
  /** Ends every one; then the ports are free. */
  close(): Promise<void>
}
