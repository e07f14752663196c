/** A certificate authority of this machine, for those who have no certificate yet. */
import 'reflect-metadata'
import { webcrypto, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate as Certificate,
  X509CertificateGenerator,
  cryptoProvider,
  type Extension,
} from '@peculiar/x509'

cryptoProvider.set(webcrypto)

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 86_400_000
const caDays = 3650
/** Browsers refuse more than 398 days. */
const leafDays = 90
const renewDays = 7

/** The files of the local CA. */
export interface LocalCertificate {
  /** What clients must trust: `curl --cacert`. */
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** What the certificate is for. */
export interface LocalCaOptions {
  /** The state directory. */
  readonly folder: string
  readonly hostname: string
  readonly now: Date
}

/** The local certificate; made anew when it is missing, ends soon or lacks the host name. */
export async function localCertificate(options: LocalCaOptions): Promise<LocalCertificate> {
  const folder = join(options.folder, 'tls')
  const file = (name: string): string => join(folder, name)
  const files = {
    caFile: file('ca.pem'),
    certFile: file('localhost.pem'),
    keyFile: file('localhost-key.pem'),
  }
  const ca = readCurrent(files.caFile, options.now)
  const leaf = readCurrent(files.certFile, options.now)
  const names = ['localhost', options.hostname.toLowerCase()]
  const isUsable = ca !== null && leaf?.checkIssued(ca) === true && leaf.verify(ca.publicKey)
  if (isUsable && names.every((name) => leaf.checkHost(name) !== undefined)) return files
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const authority = (await readAuthority(file, options.now)) ?? (await newAuthority(file, options))
  const keys = await newKeys()
  const certificate = await issue(authority, { names, keys, now: options.now })
  const chain = `${certificate.toString('pem')}\n${authority.certificate.toString('pem')}\n`
  write(files.keyFile, await pkcs8(keys.privateKey))
  write(files.certFile, chain)
  return files
}

interface Authority {
  readonly certificate: Certificate
  readonly key: webcrypto.CryptoKey
}

/** The certificate in the file, null when there is none or it ends within a week. */
function readCurrent(file: string, now: Date): X509Certificate | null {
  try {
    const certificate = new X509Certificate(readFileSync(file))
    const left = Date.parse(certificate.validTo) - now.getTime()
    return left > renewDays * dayMs ? certificate : null
  } catch {
    return null // missing or damaged: both mean that a new one is made
  }
}

async function readAuthority(file: (name: string) => string, now: Date): Promise<Authority | null> {
  const current = readCurrent(file('ca.pem'), now)
  if (current === null) return null
  try {
    const [der] = PemConverter.decode(readFileSync(file('ca-key.pem'), 'utf8'))
    if (der === undefined) return null
    const key = await webcrypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign'])
    const { X509Certificate: Parsed } = await import('@peculiar/x509')
    return { certificate: new Parsed(current.raw), key }
  } catch {
    return null // without its key the old CA can sign nothing
  }
}

async function newAuthority(
  file: (name: string) => string,
  { hostname, now }: LocalCaOptions,
): Promise<Authority> {
  const keys = await newKeys()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ O: ['quic-proxy-waf'] }, { CN: [`quic-proxy-waf local CA on ${hostname}`] }],
    keys,
    signingAlgorithm: algorithm,
    serialNumber: serialNumber(),
    ...validity(now, caDays),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  write(file('ca-key.pem'), await pkcs8(keys.privateKey))
  write(file('ca.pem'), `${certificate.toString('pem')}\n`)
  return { certificate, key: keys.privateKey }
}

async function issue(
  authority: Authority,
  { names, keys, now }: { names: readonly string[]; keys: webcrypto.CryptoKeyPair; now: Date },
): Promise<Certificate> {
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    new SubjectAlternativeNameExtension([
      ...[...new Set(names)].map((value) => ({ type: 'dns', value }) as const),
      { type: 'ip', value: '127.0.0.1' },
      { type: 'ip', value: '::1' },
    ]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(authority.certificate),
  ]
  return X509CertificateGenerator.create({
    subject: [{ O: ['quic-proxy-waf'] }, { CN: ['localhost'] }],
    issuer: authority.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm: algorithm,
    serialNumber: serialNumber(),
    ...validity(now, leafDays),
    extensions,
  })
}

/** A day back, for clients whose clock is behind. */
function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  const begin = now.getTime() - dayMs
  return { notBefore: new Date(begin), notAfter: new Date(begin + days * dayMs) }
}

/** 15 random bytes, positive (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  return `01${Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString('hex')}`
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

async function pkcs8(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`
}

/** Renamed into place, so that a crash leaves no half key. */
function write(file: string, text: string): void {
  const next = `${file}.${process.pid}`
  writeFileSync(next, text, { mode: 0o600 })
  renameSync(next, file)
}
