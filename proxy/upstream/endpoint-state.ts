/** What the main thread tells the workers about endpoints: plain data, upstream by upstream. */

/** Why an endpoint is used or not. */
export type EndpointHealth =
  | 'healthy'
  /** Its probes fail. */
  | 'unhealthy'
  /** The requests of clients failed there. */
  | 'ejected'
  /** Its name has no address yet. */
  | 'unresolved'

export interface EndpointState {
  /** In the wire's table; never used again for another endpoint while the program runs. */
  readonly id: number
  /** As logs and metrics name it. */
  readonly url: string
  readonly weight: number
  /** The value by which a sticky cookie names it; says nothing to who reads it. */
  readonly token: string
  readonly health: EndpointHealth
  /** How long ago it came or came back; null: it was always here. */
  readonly returnedAgoMs: number | null
}

export interface UpstreamState {
  readonly name: string
  readonly endpoints: readonly EndpointState[]
}
