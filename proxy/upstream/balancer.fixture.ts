/** A balancer for tests: the upstream `u`, whose endpoints 4 and 5 are healthy. */
import { Balancer, type BalanceOptions, type BalancerOptions } from './balancer.ts'
import { EndpointLoads } from './endpoint-load.ts'
import type { EndpointState } from './endpoint-state.ts'

/** `u`, with the defaults of the schema. */
export const upstreamOptions: BalanceOptions = {
  name: 'u',
  balance: 'round-robin',
  hash: { on: { kind: 'client-address' } },
  sticky: { cookie: null },
  ejection: { consecutiveFailures: 5, serverErrors: false },
  retry: { enabled: true, budgetPercent: 10, budgetMin: 3 },
  panic: true,
  slowStartMs: 10_000,
}

/** A healthy endpoint that was always there. */
export function endpointState(id: number, changes: Partial<EndpointState> = {}): EndpointState {
  const letter = String.fromCharCode(93 + id) // 4 is a
  const url = `http://${letter}:1`
  const fresh = { weight: 1, token: `t${id}`, health: 'healthy', returnedAgoMs: null } as const
  return { id, url, ...fresh, ...changes }
}

/** Of one upstream. */
export function balancer(
  changes: Partial<BalanceOptions> = {},
  endpoints: readonly EndpointState[] = [endpointState(4), endpointState(5)],
  around: Partial<BalancerOptions> = {},
): Balancer {
  const options = { ...upstreamOptions, ...changes }
  return new Balancer([options], [{ name: options.name, endpoints }], {
    offset: 0,
    workers: 1,
    loads: new EndpointLoads(),
    clock: () => 0,
    random: () => 0,
    ...around,
  })
}
