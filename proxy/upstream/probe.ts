/** Asks one endpoint whether it is well, on a connection of its own. */
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import type { Client } from 'undici'
import { hostPortOf } from '../host-port.ts'
import type { EndpointConfig } from '../wire-config.ts'
import { meshConnector } from './mesh-connector.ts'

/** What is asked, and of whom. */
export interface ProbeTarget {
  /** Scheme, host and port of the endpoint. */
  readonly url: string
  /** Resolved: a probe does not look names up. */
  readonly endpoint: Pick<EndpointConfig, 'addresses' | 'protocol' | 'tls' | 'via'>
  readonly path: string
  readonly host: string | null
  readonly timeoutMs: number
  readonly status: { readonly from: number; readonly to: number }
}

/** Null when the endpoint is well, else why not. */
export type Probe = (target: ProbeTarget) => Promise<string | null>

/** A GET, by the endpoint's protocol and TLS settings. Redirects are answers, not followed. */
export async function probe(target: ProbeTarget): Promise<string | null> {
  const { url, path, host, timeoutMs, status } = target
  const client = await clientOf(target)
  try {
    const answer = await client.request({
      method: 'GET',
      path,
      headers: { 'user-agent': 'edge-health', ...(host === null ? {} : { host }) },
      signal: AbortSignal.timeout(timeoutMs),
    })
    // Nobody reads the body: the connection ends with it.
    answer.body.on('error', () => undefined)
    const isGood = answer.statusCode >= status.from && answer.statusCode <= status.to
    return isGood ? null : `status ${answer.statusCode}`
  } catch (error) {
    return error instanceof Error && error.message !== '' ? error.message : `${url} does not answer`
  } finally {
    client.destroy().catch(() => undefined)
  }
}

async function clientOf({ url, endpoint, timeoutMs }: ProbeTarget): Promise<Client> {
  // Loaded with the first probe: most programs have none, and every start would pay.
  const { Client } = await import('undici')
  const { protocol, tls, addresses, via } = endpoint
  const inClear = tls === null
  const speaksHttp2 = protocol === 'http2' || (protocol === 'auto' && !inClear)
  const way = { timeoutMs, http2: speaksHttp2, tls: inClear ? null : tlsOptions(tls) }
  return new Client(url.replace(/^mesh:/, 'http:'), {
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    allowH2: speaksHttp2,
    h2Options: { useH2c: protocol === 'http2' && inClear },
    connect:
      via === undefined
        ? {
            timeout: timeoutMs,
            lookup: (_host, _options, found) => found(null, addresses.map(socketAddress)),
            autoSelectFamily: true,
            ...way.tls,
          }
        : meshConnector({ ...way, via, addresses }),
  })
}

function socketAddress(address: string): { address: string; family: number } {
  const { host } = hostPortOf(address)
  return { address: host, family: isIP(host) }
}

function tlsOptions(tls: NonNullable<EndpointConfig['tls']>) {
  const { serverName, trusted, verify, clientChain, clientKey } = tls
  return {
    rejectUnauthorized: verify,
    ...(trusted === '' ? {} : { ca: trusted }),
    // RFC 6066 §3: an address is no server name.
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    checkServerIdentity: (_host: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
      checkServerIdentity(serverName, certificate),
    ...(clientChain === '' ? {} : { cert: clientChain, key: clientKey }),
  }
}
