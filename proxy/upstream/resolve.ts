/** From the URLs of the configuration to the socket addresses of the wire's endpoint table. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { EdgeConfig } from '../config/schema.ts'
import type { EndpointConfig, EndpointTls } from '../wire-config.ts'
import type { UpstreamEndpoints } from './balancer.ts'
import type { UpstreamFiles } from './upstream-files.ts'

type UpstreamConfig = EdgeConfig['upstreams'][number]

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
  upstreams: readonly Pick<UpstreamConfig, 'endpoints' | 'protocol' | 'tls'>[],
  files: readonly UpstreamFiles[],
): Promise<EndpointConfig[]> {
  const endpoints = upstreams.flatMap((upstream, index) =>
    upstream.endpoints.map(async ({ url }) => ({
      addresses: await addressesOf(new URL(url)),
      protocol: upstream.protocol,
      tls: endpointTls(url, upstream.tls, files[index]),
    })),
  )
  return (await Promise.all(endpoints)).map((endpoint, id) => ({ id, ...endpoint }))
}

/** How the wire verifies one endpoint; null in clear. */
export function endpointTls(
  url: string,
  { serverName, verify }: Pick<UpstreamConfig['tls'], 'serverName' | 'verify'>,
  files: UpstreamFiles | undefined,
): EndpointTls | null {
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'https:') return null
  return {
    serverName: serverName ?? bare(hostname),
    verify,
    trusted: files?.trusted ?? '',
    clientChain: files?.clientChain ?? '',
    clientKey: files?.clientKey ?? '',
  }
}

async function addressesOf(url: URL): Promise<string[]> {
  const port = url.port === '' ? defaultPorts[url.protocol] : url.port
  const host = bare(url.hostname)
  const found = isIP(host) !== 0 ? [host] : await resolve(host, url)
  return found.map((address) =>
    isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`,
  )
}

// `URL` drops the port that its scheme has anyway.
const defaultPorts: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** Without the brackets of an IPv6 address. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

async function resolve(host: string, url: URL): Promise<string[]> {
  try {
    const found = await lookup(host, { all: true })
    return found.map(({ address }) => address)
  } catch (cause) {
    throw new Error(`the name ${host} of endpoint ${url.href} does not resolve`, { cause })
  }
}
