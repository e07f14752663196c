/** Every bound of the mesh, with its unit in its name. */
export const meshLimits = {
  /** Nodes of one mesh. */
  nodesMax: 20_000,
  /** Tokens that can still be used. */
  tokensMax: 10_000,
  /** What a node may show to be let in: a token of ours, or one of Kubernetes with its claims. */
  tokenCharactersMax: 16 * 1024,
  /** Uses of one token. */
  tokenUsesMax: 100_000,
  /** Life of one token. */
  tokenLifeMsMax: 366 * 86_400_000,
  /** Labels of one token, CIDRs of one token, and CIDRs that one node advertises. */
  labelsMax: 32,
  cidrsMax: 256,
  /** Signatures that the addon checks at once; fewer are checked one by one. */
  signaturesAtOnceMin: 16,
  signaturesAtOnceMax: 2_048,
  /** The name of a location: a label's value. */
  locationCharactersMax: 63,
  /** Leaders of a location that work at the same time. */
  leadersPerLocation: 2,
  /** One that the coordinator has not seen for so long is away; after its own start it waits
   * longer: everybody is still coming back. */
  awayAfterMs: 2_000,
  awayGraceMs: 30_000,
  /** A leader that is one no more goes on so long for those who do not know it yet. */
  leaderRestMs: 10_000,
  /** A node for which others stand in waits at its end for the mark, and then for those who hear of
   * it last. */
  handOverMs: 500,
  handOverLookMs: 20,
  /** A peer with a stand-in that leaves packets unanswered for so long is silent; the kernel's
   * WireGuard asks nobody for an answer, and says something by itself after ten seconds. */
  silentMs: 2_000,
  silentKernelMs: 15_000,
  /** How often that is looked at, and a silent one is asked. */
  watchIntervalMs: 500,
  wakeSilentMs: 5_000,
  /** A request to the coordinator, and one event of its stream (a snapshot of all nodes). */
  requestBytesMax: 64 * 1024,
  eventBytesMax: 64 * 1024 * 1024,
  /** A request, and its connection: when a fleet comes back, a coordinator is slow for a while. */
  requestTimeoutMs: 8_000,
  /** The coordinator says something this often, and when it will say the next word; in a large mesh
   * less often: for each stream so long, and never longer than the third of these. */
  pingIntervalMs: 15_000,
  pingMsPerStream: 12,
  pingIntervalMsMax: 120_000,
  /** Silence of more than this, or of so many of those intervals, is a lost stream. */
  streamSilenceMs: 40_000,
  streamSilencePings: 2.5,
  /** So many streams in a row that end this soon are worth a word. */
  briefStreamMs: 10_000,
  briefStreamsMax: 3,
  /** A new node waits this long for the others to know it: a first handshake that nobody answers is
   * repeated only five seconds later. */
  responderWaitMs: 300,
  /** It waits for so many of them one by one; more will not be done in that time. */
  respondersMax: 256,
  /** Streams beyond which agents spread over time what a change or a restart makes them do. */
  spreadStreamsMin: 256,
  /** For each stream so long; and no agent waits longer for that. */
  spreadMsPerStream: 2,
  spreadMsMax: 20_000,
  /** Changes are told together: for each stream so long after the last ones were told. */
  tellMsPerStream: 0.1,
  /** A snapshot that is kept may be so many changes old; they follow it. */
  snapshotChangesMax: 256,
  /** A snapshot longer than this is compressed. */
  compressedBytesMin: 64 * 1024,
  /** An agent reports so often when nothing happens, or once in so many of its spreads. */
  reportIntervalMs: 15_000,
  reportSpreads: 100,
  /** Peers in one report: those with the newest handshakes. */
  reportPeersMax: 64,
  /** Joins that are looked at in a second, from all addresses. */
  joinsPerSecondMax: 500,
  /** Joins of one address (IPv6: of its /64) that may be refused in a minute. */
  joinRefusalsPerMinuteMax: 30,
  /** Addresses whose refusals are counted; beyond it, the oldest is forgotten. */
  joinAddressesMax: 10_000,
  /** Connections to a coordinator: a stream for each node and as many short ones. */
  connectionsMax: 40_000,
  /** Connections that wait to be accepted: a fleet comes back at once. */
  backlogMax: 4_096,
  /** A request's head, and a handshake before it. */
  requestHeadBytesMax: 8 * 1024,
  handshakeTimeoutMs: 10_000,
  /** Agents that come back together pay for every kilobyte and curve of a handshake. */
  curves: 'X25519:P-256',
  /** A request's lines behind its first one. */
  requestHeadersMax: 100,
  /** A connection that asks nothing goes. */
  idleTimeoutMs: 5_000,
  /** So does one that takes nothing of what it is sent. */
  stallTimeoutMs: 60_000,
  /** What may wait for a stream's reader; then it is told the rest later, as one change. */
  streamQueueBytesMax: 64 * 1024,
  /** An agent writes its table at most so often for each node in it. */
  viewWriteMsPerNode: 1,
  /** Waits of an agent between attempts to reach the coordinator. */
  retryMsMax: 30_000,
  /** Nodes that left and are still told of, one by one; before that, a snapshot. */
  departedMax: 20_000,
  /** Identities that were taken out and are known to be; after that, the oldest is forgotten. */
  revokedMax: 100_000,
  /** What a route was refused for may be gone: tried again this often. */
  repairIntervalMs: 10_000,
  /** What IPv6 needs of every link (RFC 8200 §5), and the longest that was tried out. */
  mtuMin: 1_280,
  mtuMax: 4_000,
  /** Outer IPv6 and UDP headers and WireGuard's own 32 bytes. */
  tunnelOverheadBytes: 80,
  /** The mark of a device's own packets where it has the default route. One byte: others have their
   * bits above (Kubernetes 0x4000 and 0x8000, Cilium 0xf00, Tailscale 0xff0000). */
  packetMark: 0xed,
  /** Other places of a node that it names itself. */
  candidatesMax: 8,
  /** Relays of a mesh that are counted, the oldest first, and those that serve one node. */
  relaysMax: 64,
  relaysPerNode: 2,
  /** What a relay forwards for each node; a quarter of it may come at once. */
  relayBytesPerSecond: 16 * 1024 * 1024,
  /** Connections of nodes to one relay in each of its other ways, and what waits in one of them:
   * bytes of a stream, packets that are no part of one. */
  carriersMax: 4_096,
  carrierQueueBytesMax: 1024 * 1024,
  carrierQueuePacketsMax: 1_024,
  /** What a stream in QUIC may have under way. */
  carrierWindowBytesMax: 4 * 1024 * 1024,
  /** QUIC connections that are not let in yet, of one address as well; beyond the last number a
   * client proves its address first (RFC 9000 §8.1.2). */
  carrierHandshakesMax: 256,
  carrierHandshakesPerAddressMax: 32,
  carrierRetryFrom: 64,
  /** The longest packet of any device, in what is around it. */
  carrierFrameBytesMax: 4_200,
  /** Nothing came for so long: the other end is gone. */
  carrierSilenceMs: 30_000,
  /** A node that heard nothing of its relay for so long asks whether it is there, and has lost it
   * when nothing came for so long altogether. */
  carrierPingMs: 3_000,
  carrierDeafMs: 10_000,
  carrierConnectMs: 5_000,
  /** HTTP/3 has so long before TCP is tried as well. */
  carrierHeadStartMs: 1_500,
  /** A relay that was never heard by UDP is tried in other ways after so long (a first handshake
   * that was lost is repeated after five seconds), and one that fell silent after the other; then
   * again so often. It is looked at each second. */
  carrierPatienceMs: 8_000,
  carrierSilentMs: 3_000,
  carrierRetryMs: 5_000,
  carrierLookMs: 1_000,
  carrierLookMsPerRelay: 100,
  /** So many looks at a silent connection, and it is given up. */
  carrierSilencesMax: 5,
  /** After so long UDP is tried again. */
  carrierKeptMs: 300_000,
  /** Pairs of nodes that it forwards for within a minute. */
  relayPairsMax: 4_096,
  /** A node behind a NAT keeps its paths to all others open in a mesh of so many nodes; in a larger
   * one those to its relays, through which the others reach it. */
  keepaliveNodesMax: 256,
  /** Nodes that the live page draws. */
  pictureNodesMax: 300,
  /** A node changes its key so often, and looks so often whether there is something to do. */
  rotationIntervalMs: 30 * 86_400_000,
  rotationLookMs: 1_000,
  /** It speaks with the next key when the others know it, or after so long. */
  rotationSwitchMs: 10_000,
  /** It answers the key before for at least so long: others may not hear of the new one sooner. */
  rotationDropMs: 3_600_000,
  /** A clock that is further off is worth a word. */
  clockOffSMax: 60,
  /** A path of a Unix socket (unix(7)). */
  socketPathBytesMax: 107,
} as const
