/** Which peers may tell us who their client is, and who the client then is. */
import { BlockList, isIP } from 'node:net'
import type { RequestHead } from './request.ts'

// Clients come back: a lookup by string is far cheaper than a walk over the list of networks.
const remembered = 4_096

/** Decides whether an address belongs to a trusted proxy. No network is trusted by default. */
export class TrustedProxies {
  readonly #networks = new BlockList()
  readonly #empty: boolean
  readonly #verdicts = new Map<string, boolean>()

  constructor(networks: readonly string[]) {
    this.#empty = networks.length === 0
    for (const network of networks) {
      const [address = '', prefix] = network.split('/')
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
      const whole = family === 'ipv6' ? 128 : 32
      this.#networks.addSubnet(address, prefix === undefined ? whole : Number(prefix), family)
    }
  }

  has(address: string): boolean {
    if (this.#empty) return false
    const known = this.#verdicts.get(address)
    if (known !== undefined) return known
    const version = isIP(address)
    const verdict = version !== 0 && this.#networks.check(address, version === 6 ? 'ipv6' : 'ipv4')
    if (this.#verdicts.size >= remembered) this.#verdicts.clear()
    this.#verdicts.set(address, verdict)
    return verdict
  }

  /**
   * The client's address: the peer, or what trusted peers say. Counted from the right, because
   * everything left of the last trusted hop is the client's own word.
   */
  clientOf(request: RequestHead): string {
    let client = request.peer
    if (!this.has(client)) return client
    const hops = request.headerAll('x-forwarded-for').join(',').split(',')
    for (const hop of hops.toReversed()) {
      const address = addressOf(hop.trim())
      if (address === null) return client
      client = address
      if (!this.has(address)) return client
    }
    return client
  }
}

/** Some proxies write `1.2.3.4:567` or `[2001:db8::1]:567`. */
function addressOf(hop: string): string | null {
  const bare = hop.startsWith('[') ? hop.slice(1, hop.indexOf(']')) : hop
  if (isIP(bare) !== 0) return bare.toLowerCase()
  const host = bare.replace(/:\d{1,5}$/, '')
  return isIP(host) === 4 ? host : null
}
