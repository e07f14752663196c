/** Certificate files to the set that the wire serves; every fault in them is found before start. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { accessSync, constants, existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Environment, seedCertificate } from '../config/environment.ts'
import { ConfigError, type Fault } from '../config/faults.ts'
import { Origins } from '../config/layer.ts'
import { readText } from '../config/read-text.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { stateDirectory } from '../directories.ts'
import { localCertificate } from './local-ca.ts'

/** One certificate that can be served. */
export interface LoadedCertificate {
  /** PEM chain and key. */
  readonly chain: string
  readonly key: string
  readonly names: readonly string[]
  readonly isDefault: boolean
  /** For faults and logs. */
  readonly certFile: string
  readonly notAfterMs: number
}

/** Certificates that can be served, and what to tell about them. */
export interface LoadedCertificates {
  readonly certificates: readonly LoadedCertificate[]
  /** The local CA that clients must trust; null when the certificates come from elsewhere. */
  readonly caFile: string | null
  readonly notices: readonly string[]
  /** Every file that was read. */
  readonly files: readonly string[]
}

/** Faults in certificate files, which are counted apart. */
export class CertificateError extends ConfigError {}

/** What decides about the certificates. */
export interface CertificateSources {
  readonly config: EdgeConfig
  /** Where the file names were written. */
  readonly origins: Origins
  readonly env: Environment
  readonly now: Date
}

interface Named {
  readonly certFile: string
  readonly keyFile: string
}

/**
 * The configured certificates, else those of seed 001's paths, else one of the local CA.
 * Throws a `CertificateError` with every fault in a named file.
 */
export async function loadCertificates(sources: CertificateSources): Promise<LoadedCertificates> {
  const { config, origins, now } = sources
  if (config.listen.https === null) {
    return { certificates: [], caFile: null, notices: [], files: [] }
  }
  const named = config.tls.certificates
  if (named.length > 0 && !isAwaited(config.tls)) {
    return { ...readAll(named, { origins, now }), caFile: null }
  }
  const hasSeed = isReadable(seedCertificate.certFile) && isReadable(seedCertificate.keyFile)
  if (named.length === 0 && hasSeed) {
    return { ...readAll([seedCertificate], { origins, now }), caFile: null }
  }
  const folder = stateDirectory(sources.env)
  const local = await localCertificate({ folder, hostname: hostname(), now })
  const made = readAll([local], { origins, now })
  // What is awaited is watched: once it comes, it is served.
  return { ...made, caFile: local.caFile, files: [...made.files, ...filesOf(named)] }
}

/** Nothing is there yet, and that is no fault; a part of it would be one. */
function isAwaited({ certificates, whenMissing }: EdgeConfig['tls']): boolean {
  return whenMissing === 'self-signed' && filesOf(certificates).every((file) => !existsSync(file))
}

function filesOf(certificates: readonly Named[]): string[] {
  return certificates.flatMap(({ certFile, keyFile }) => [certFile, keyFile])
}

function readAll(
  named: readonly Named[],
  { origins, now }: { origins: Origins; now: Date },
): Omit<LoadedCertificates, 'caFile'> {
  const faults: Fault[] = []
  const notices: string[] = []
  const certificates = named.flatMap((files, index) => {
    const report = (key: keyof Named, message: string, mend: string): void => {
      faults.push({ where: origins.get(['tls', 'certificates', index, key]), message, mend })
    }
    const read = readOne(files, report)
    if (read === null) return []
    notices.push(...datesNotice(read.leaf, files.certFile, now))
    notices.push(...chainNotice(read.chain, files.certFile))
    const names = dnsNames(read.leaf)
    if (names.length === 0 && index > 0) {
      notices.push(`${files.certFile} names no host: it is never chosen`)
    }
    const { chain, key, leaf } = read
    const { certFile } = files
    const notAfterMs = leaf.validToDate.getTime()
    return [{ chain, key, names, isDefault: index === 0, certFile, notAfterMs }]
  })
  if (faults.length > 0) throw new CertificateError(faults)
  return { certificates, notices, files: filesOf(named) }
}

type Report = (key: keyof Named, message: string, mend: string) => void

function readOne(
  { certFile, keyFile }: Named,
  report: Report,
): { chain: string; key: string; leaf: X509Certificate } | null {
  const chain = readNamed('certFile', certFile, report)
  const key = readNamed('keyFile', keyFile, report)
  const leaf = chain === null ? null : (certificatesIn(chain)[0] ?? null)
  if (chain !== null && leaf === null) {
    report('certFile', `${certFile} holds no PEM certificate`, 'name the file with the certificate')
  }
  const privateKey = key === null ? null : parseKey(key)
  if (key !== null && privateKey === null) {
    const mend = 'name a PEM private key without a password'
    report('keyFile', `${keyFile} holds no private key that can be read`, mend)
  }
  if (chain === null || key === null || leaf === null || privateKey === null) return null
  if (!leaf.checkPrivateKey(privateKey)) {
    const mend = 'name the key that the certificate was made with; the certificate comes first'
    report('keyFile', `${keyFile} is not the key of ${certFile}`, mend)
    return null
  }
  return { chain, key, leaf }
}

function readNamed(key: keyof Named, file: string, report: Report): string | null {
  return readText(file, (message, mend) => report(key, message, mend))
}

/** Every certificate of a PEM text; none when one of them cannot be read or is cut off. */
function certificatesIn(chain: string): X509Certificate[] {
  const blocks = chain.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  if (blocks.length !== chain.split('-----BEGIN CERTIFICATE-----').length - 1) return []
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch {
    return [] // reported by the caller, with the file's name
  }
}

/** Clients tend to mend a chain in the wrong order, but not all of them do. */
function chainNotice(chain: string, file: string): string[] {
  const certificates = certificatesIn(chain)
  const isBroken = certificates.some((certificate, index) => {
    const issuer = certificates[index + 1]
    return issuer !== undefined && !certificate.checkIssued(issuer)
  })
  return isBroken ? [`${file} is no chain: a certificate in it was not issued by the next`] : []
}

function parseKey(text: string): KeyObject | null {
  try {
    return createPrivateKey(text)
  } catch {
    return null // reported by the caller; OpenSSL's reason says nothing to an operator
  }
}

function datesNotice(leaf: X509Certificate, file: string, now: Date): string[] {
  if (Date.parse(leaf.validTo) <= now.getTime()) return [`${file} expired on ${leaf.validTo}`]
  if (Date.parse(leaf.validFrom) > now.getTime()) {
    return [`${file} is not valid before ${leaf.validFrom}`]
  }
  return []
}

/** DNS names of the certificate, lower-case; SNI knows no addresses (RFC 6066 §3). */
export function dnsNames(certificate: X509Certificate): string[] {
  const names = certificate.subjectAltName?.split(', ') ?? []
  return names.filter((name) => name.startsWith('DNS:')).map((name) => name.slice(4).toLowerCase())
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return true
  } catch {
    return false // missing or not ours: the local CA takes its place
  }
}
