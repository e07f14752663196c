/** Every bound of the gateway, with its unit in its name. */
export const gatewayLimits = {
  /** Agents that are registered at once, and identifiers of one of them. */
  agentsMax: 1_000,
  identifiersMax: 64,
  /** Tunnels at once. */
  tunnelsMax: 4_096,
  /** From a CONNECT to its answer: less than the second after which clients give up. */
  openTimeoutMs: 800,
  /** Head of a request. */
  headBytesMax: 16 * 1024,
  /** A request whose head does not come. */
  headTimeoutMs: 5_000,
  /** A line between gateway and agent. */
  lineBytesMax: 4 * 1024,
  /** Each side says something this often; silence of the other length is a dead one. */
  pingIntervalMs: 2_000,
  silenceMs: 7_000,
  /** Waits of an agent between attempts to reach its gateway. */
  retryMsMax: 10_000,
} as const
