/**
 * Instead of a token: what Kubernetes keeps up to date for the agent of a node. Read anew at each
 * use; it lets the node in again where the coordinator lost its memory.
 */
export interface Credential {
  readonly pin: () => string
  readonly token: () => string
}
