/** The files that upstreams name, read before start; every fault in them is told together. */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { getCACertificates, rootCertificates } from 'node:tls'
import { ConfigError, type Fault } from '../config/faults.ts'
import type { Origins } from '../config/layer.ts'
import { readText } from '../config/read-text.ts'
import type { EdgeConfig } from '../config/schema.ts'

/** What the files of one upstream hold. */
export interface UpstreamFiles {
  /** PEM of the trusted authorities; '' where no endpoint is verified. */
  readonly trusted: string
  /** PEM of the client certificate and its key; '' for none. */
  readonly clientChain: string
  readonly clientKey: string
  /** What seals the sticky cookie, as hexadecimal digits; '' for nothing. */
  readonly stickyKey: string
}

type UpstreamConfig = EdgeConfig['upstreams'][number]
type Report = (key: readonly string[], message: string, mend: string) => void

/** In the order of the configuration; throws a `ConfigError` with every fault. */
export function readUpstreamFiles(config: EdgeConfig, origins: Origins): UpstreamFiles[] {
  const faults: Fault[] = []
  let machine: string | null = null
  const files = config.upstreams.map((upstream, index): UpstreamFiles => {
    const report: Report = (key, message, mend) => {
      faults.push({ where: origins.get(['upstreams', index, ...key]), message, mend })
    }
    const { caFile, verify } = upstream.tls
    const verifies = verify && upstream.endpoints.some(({ url }) => url.startsWith('https:'))
    if (verifies && caFile === null) machine ??= machineAuthorities()
    return {
      trusted: caFile === null ? (verifies ? (machine ?? '') : '') : authorities(caFile, report),
      ...clientCertificate(upstream, report),
      stickyKey: stickyKey(upstream, report),
    }
  })
  if (faults.length > 0) throw new ConfigError(faults)
  return files
}

/** The names of all those files. */
export function upstreamFileNames({ upstreams }: EdgeConfig): string[] {
  return upstreams
    .flatMap(({ tls, sticky }) => [
      tls.caFile,
      tls.clientCertFile,
      tls.clientKeyFile,
      sticky.keyFile,
    ])
    .filter((file) => file !== null)
}

/** The machine's trusted authorities; those of Node where the machine has none (small images). */
function machineAuthorities(): string {
  const own = new Set([...getCACertificates('system'), ...getCACertificates('extra')])
  return [...(own.size === 0 ? rootCertificates : own)].join('\n')
}

function authorities(file: string, report: Report): string {
  const pem = read(['tls', 'caFile'], file, report)
  if (pem !== null && !isCertificate(pem)) {
    const mend = 'name a PEM file with the certificates of the authorities'
    report(['tls', 'caFile'], `${file} holds no PEM certificate`, mend)
  }
  return pem ?? ''
}

function clientCertificate(
  { tls }: UpstreamConfig,
  report: Report,
): Pick<UpstreamFiles, 'clientChain' | 'clientKey'> {
  const { clientCertFile, clientKeyFile } = tls
  const none = { clientChain: '', clientKey: '' }
  // One without the other is a fault of the configuration itself (config/checks.ts).
  if (clientCertFile === null || clientKeyFile === null) return none
  const chain = read(['tls', 'clientCertFile'], clientCertFile, report)
  const key = read(['tls', 'clientKeyFile'], clientKeyFile, report)
  if (chain === null || key === null) return none
  if (!isCertificate(chain)) {
    const mend = 'name the file with the certificate'
    report(['tls', 'clientCertFile'], `${clientCertFile} holds no PEM certificate`, mend)
    return none
  }
  const pair = matches(chain, key)
  if (pair === 'no-key') {
    const message = `${clientKeyFile} holds no private key that can be read`
    report(['tls', 'clientKeyFile'], message, 'name a PEM private key without a password')
  } else if (pair === 'other') {
    const message = `${clientKeyFile} is not the key of ${clientCertFile}`
    report(['tls', 'clientKeyFile'], message, 'name the key of that certificate')
  }
  return { clientChain: chain, clientKey: key }
}

function stickyKey({ balance, sticky }: UpstreamConfig, report: Report): string {
  if (balance !== 'sticky' || sticky.keyFile === null) return ''
  const secret = read(['sticky', 'keyFile'], sticky.keyFile, report)?.trim()
  if (secret === undefined) return ''
  if (secret.length < 16) {
    const mend = 'write at least 16 characters into it, for example with: openssl rand -hex 32'
    report(['sticky', 'keyFile'], `${sticky.keyFile} holds too short a secret`, mend)
  }
  return createHash('sha256').update(secret).digest('hex')
}

function read(key: readonly string[], file: string, report: Report): string | null {
  return readText(file, (message, mend) => report(key, message, mend))
}

function isCertificate(pem: string): boolean {
  try {
    return pem.includes('-----BEGIN CERTIFICATE-----') && new X509Certificate(pem).raw.length > 0
  } catch {
    return false // the caller reports it, with the file's name
  }
}

function matches(chain: string, key: string): 'pair' | 'no-key' | 'other' {
  try {
    const privateKey = createPrivateKey(key)
    return new X509Certificate(chain).checkPrivateKey(privateKey) ? 'pair' : 'other'
  } catch {
    return 'no-key' // OpenSSL's reason says nothing to an operator
  }
}
