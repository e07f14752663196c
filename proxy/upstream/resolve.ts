/** From a URL of the configuration to what the wire's endpoint table says of it. */
import type { EdgeConfig } from '../config/schema.ts'
import { bareHost, hostPortText } from '../host-port.ts'
import type { EndpointTls } from '../wire-config.ts'
import type { UpstreamFiles } from './upstream-files.ts'

/**
 * The host of an endpoint's URL, without the brackets of an IPv6 address; `mesh://NODE` for a node
 * of the mesh, whose name may be one of the DNS, too.
 */
export function hostOfUrl(url: string): string {
  if (url.startsWith('mesh:')) return url.slice(0, url.lastIndexOf(':'))
  return bareHost(new URL(url).hostname)
}

/** An address and the URL's port, as the wire takes it. */
export function socketAddress(address: string, url: string): string {
  const { port, protocol } = new URL(url)
  // `URL` drops the port that its scheme has anyway.
  const schemePort = protocol === 'https:' ? 443 : 80
  return hostPortText({ host: address, port: port === '' ? schemePort : Number(port) })
}

/** How the wire verifies an endpoint; null in clear. */
export function endpointTls(
  url: string,
  { serverName, verify }: Pick<EdgeConfig['upstreams'][number]['tls'], 'serverName' | 'verify'>,
  files: UpstreamFiles,
): EndpointTls | null {
  if (!url.startsWith('https:')) return null
  const { trusted, clientChain, clientKey } = files
  return { serverName: serverName ?? hostOfUrl(url), verify, trusted, clientChain, clientKey }
}
