/** The agents that live, and which of them stands for a destination. */
import type { Duplex } from 'node:stream'
import { GatewayFault } from './fault.ts'
import { type Identifiers, rankOf, standsFor } from './identifiers.ts'
import { gatewayLimits } from './limits.ts'

/** One agent, however it is reached. */
export interface GatewayAgent {
  readonly name: string
  readonly identifiers: Identifiers
  /** A stream to a destination, or a `GatewayFault`. */
  open(host: string, port: number, signal: AbortSignal): Promise<Duplex>
}

export class AgentTable {
  readonly #limits: { readonly agentsMax: number; readonly tunnelsMax: number }
  readonly #agents = new Map<GatewayAgent, { tunnels: number }>()
  /** Agents that left, for the reason of a refusal. */
  readonly #departed = new Map<string, { readonly identifiers: Identifiers; readonly at: Date }>()
  #tunnels = 0

  constructor(limits: { readonly agentsMax: number; readonly tunnelsMax: number } = gatewayLimits) {
    this.#limits = limits
  }

  /** Takes an agent in; the answer takes it out. */
  add(agent: GatewayAgent): () => void {
    const { agentsMax } = this.#limits
    if (this.#agents.size >= agentsMax) {
      throw new GatewayFault('AGENTS_MAX', 503, `${agentsMax} agents are there`)
    }
    this.#agents.set(agent, { tunnels: 0 })
    this.#departed.delete(agent.name)
    return () => {
      if (!this.#agents.delete(agent)) return
      this.#departed.set(agent.name, { identifiers: agent.identifiers, at: new Date() })
      const [oldest] = this.#departed.keys()
      if (this.#departed.size > agentsMax) this.#departed.delete(oldest ?? '')
    }
  }

  get names(): readonly string[] {
    return [...this.#agents.keys()].map(({ name }) => name)
  }

  get tunnels(): number {
    return this.#tunnels
  }

  /** A stream to a destination through the agent that stands for it best. */
  async open(host: string, port: number): Promise<Duplex> {
    const { tunnelsMax } = this.#limits
    if (this.#tunnels >= tunnelsMax) {
      throw new GatewayFault('TUNNELS_MAX', 503, `${tunnelsMax} tunnels are open`)
    }
    const agent = this.#choose(host)
    const load = this.#agents.get(agent) ?? { tunnels: 0 }
    load.tunnels += 1
    this.#tunnels += 1
    const end = (): void => {
      load.tunnels -= 1
      this.#tunnels -= 1
    }
    try {
      const stream = await inTime(agent, (signal) => agent.open(host, port, signal))
      stream.once('close', end)
      return stream
    } catch (error) {
      end()
      throw error
    }
  }

  #choose(host: string): GatewayAgent {
    let best: GatewayAgent | null = null
    let [bestRank, bestTunnels] = [0, Number.POSITIVE_INFINITY]
    for (const [agent, { tunnels }] of this.#agents) {
      const rank = rankOf(agent.identifiers, host)
      if (rank < bestRank || (rank === bestRank && tunnels >= bestTunnels)) continue
      best = agent
      bestRank = rank
      bestTunnels = tunnels
    }
    if (best !== null) return best
    throw this.#nobody(host)
  }

  #nobody(host: string): GatewayFault {
    const gone = [...this.#departed].find(([, { identifiers }]) => standsFor(identifiers, host))
    if (gone === undefined) {
      const message = `no agent stands for ${host}, and none for the default route`
      return new GatewayFault('AGENT_MISSING', 503, message)
    }
    const [name, { at }] = gone
    const message = `${name} stood for ${host} and is gone since ${at.toISOString()}`
    return new GatewayFault('AGENT_GONE', 503, message)
  }
}

async function inTime(
  { name }: GatewayAgent,
  open: (signal: AbortSignal) => Promise<Duplex>,
): Promise<Duplex> {
  const { openTimeoutMs } = gatewayLimits
  const signal = AbortSignal.timeout(openTimeoutMs)
  const { promise: late, reject } = Promise.withResolvers<never>()
  const message = `${name} did not answer within ${openTimeoutMs} ms`
  signal.addEventListener('abort', () => reject(new GatewayFault('AGENT_SILENT', 503, message)))
  const opening = Promise.resolve().then(() => open(signal))
  // A stream that comes too late is nobody's.
  opening.then(
    (stream) => signal.aborted && stream.destroy(),
    () => undefined,
  )
  return Promise.race([opening, late])
}
