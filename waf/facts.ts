/** What the proxy tells the WAF about an exchange besides its bytes, which stay in the addon. */

/** Known when the request's head has arrived. Texts are Latin-1, one character per byte. */
export interface ExchangeFacts {
  /** The addon's name for the exchange in this worker. */
  readonly handle: number
  /** The request id, as in `X-Request-Id` and on the block page. */
  readonly uniqueId: string
  /** Arrival, milliseconds since the epoch. */
  readonly timeMs: number
  readonly clientAddress: string
  readonly clientPort: number
  readonly serverAddress: string
  readonly serverPort: number
  readonly method: string
  /** The request target as received. */
  readonly uri: string
  /** The canonical path, by which it is routed and forwarded; absent: that of `uri`. */
  readonly path?: string
  /** `1.0`, `1.1`, `2`, `3`. */
  readonly httpVersion: string
  /** Canonical authority; '' when the request named none. */
  readonly hostname: string
  /** In wire order, names as received. */
  readonly headers: readonly (readonly [string, string])[]
  /** True when a body follows that phase 2 is to wait for. */
  readonly hasBody: boolean
  /** Name of the route; '' when none matched. */
  readonly route: string
}

/** Known when the upstream's response head has arrived. */
export interface ResponseFacts {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
}

/** Known when the exchange is over. */
export interface OutcomeFacts {
  /** As sent to the client; 0 when nothing was sent. */
  readonly status: number
}
