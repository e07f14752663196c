/** What the stage of mesh-fleet and its agents say to each other. */

/** What the stage asks of these agents, by the numbers that they have among them. */
export type FleetOrder =
  | { do: 'keys'; count: number; prefix: string }
  | { do: 'join'; url: string; token: string; from: number; to: number; isFollowing: boolean }
  | { do: 'follow' }
  | { do: 'await'; id: string; port: number; timeoutMs: number }
  | { do: 'change'; number: number; port: number }
  | { do: 'reconnect'; number: number }
  | { do: 'resumed'; sinceMs: number; timeoutMs: number }
  | { do: 'counts' }

/** What happened to these agents since they began. */
export interface FleetCounts {
  readonly connected: number
  readonly tables: number
  readonly deltas: number
  readonly failures: number
}

/** The clock that all processes of a machine share. */
export const clockMs = (): number => performance.timeOrigin + performance.now()
