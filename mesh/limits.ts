/** Every bound of the mesh, with its unit in its name. */
export const meshLimits = {
  /** Nodes of one mesh. */
  nodesMax: 20_000,
  /** Tokens that can still be used. */
  tokensMax: 10_000,
  /** Uses of one token. */
  tokenUsesMax: 100_000,
  /** Life of one token. */
  tokenLifeMsMax: 366 * 86_400_000,
  /** Labels of one token, CIDRs of one token, and CIDRs that one node advertises. */
  labelsMax: 32,
  cidrsMax: 256,
  /** A request to the coordinator, and one event of its stream (a snapshot of all nodes). */
  requestBytesMax: 64 * 1024,
  eventBytesMax: 64 * 1024 * 1024,
  /** A request, and its connection. */
  requestTimeoutMs: 5_000,
  /** The coordinator says something this often; silence of the other length is a lost stream. */
  pingIntervalMs: 15_000,
  streamSilenceMs: 40_000,
  /** A new node waits this long for the others to know it: a first handshake that nobody answers is
   * repeated only five seconds later. */
  responderWaitMs: 300,
  /** Waits of an agent between attempts to reach the coordinator. */
  retryMsMax: 30_000,
  /** Nodes that left and are still told of, one by one; before that, a snapshot. */
  departedMax: 20_000,
  /** What a route was refused for may be gone: tried again this often. */
  repairIntervalMs: 10_000,
  /** What IPv6 needs of every link (RFC 8200 §5), and the longest that was tried out. */
  mtuMin: 1_280,
  mtuMax: 4_000,
  /** Outer IPv6 and UDP headers and WireGuard's own 32 bytes. */
  tunnelOverheadBytes: 80,
  /** A path of a Unix socket (unix(7)). */
  socketPathBytesMax: 107,
} as const
