/** From the URLs of the configuration to the socket addresses of the wire's endpoint table. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { EndpointConfig } from '../wire-config.ts'
import type { UpstreamEndpoints } from './balancer.ts'

/** The part of an upstream's configuration that names its endpoints. */
export interface UpstreamUrls {
  readonly name: string
  readonly endpoints: readonly { readonly url: string }[]
}

/** Ids in the order of the configuration: upstream by upstream, endpoint by endpoint. */
export function numberEndpoints(upstreams: readonly UpstreamUrls[]): UpstreamEndpoints[] {
  let next = 0
  return upstreams.map(({ name, endpoints }) => ({
    name,
    endpoints: endpoints.map(() => {
      next += 1
      return next - 1
    }),
  }))
}

/** Resolves every endpoint; fails with the name that does not resolve. */
export async function resolveEndpoints(
  upstreams: readonly UpstreamUrls[],
): Promise<EndpointConfig[]> {
  const urls = upstreams.flatMap(({ endpoints }) => endpoints.map(({ url }) => new URL(url)))
  const addresses = await Promise.all(urls.map((url) => addressesOf(url)))
  return addresses.map((list, id) => ({ id, addresses: list, protocol: 'http1', tls: null }))
}

async function addressesOf(url: URL): Promise<string[]> {
  const port = url.port === '' ? '80' : url.port
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const found = isIP(host) !== 0 ? [host] : await resolve(host, url)
  return found.map((address) =>
    isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`,
  )
}

async function resolve(host: string, url: URL): Promise<string[]> {
  try {
    const found = await lookup(host, { all: true })
    return found.map(({ address }) => address)
  } catch (cause) {
    throw new Error(`the name ${host} of endpoint ${url.href} does not resolve`, { cause })
  }
}
