/** Makes the local CA and its certificate. Loaded only when there is something to make. */
import 'reflect-metadata'
import { webcrypto, type X509Certificate } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
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
  X509Certificate as Certificate,
  X509CertificateGenerator,
  cryptoProvider,
  type Extension,
} from '@peculiar/x509'
import type { LocalCaOptions, LocalCertificate } from './local-ca.ts'

cryptoProvider.set(webcrypto)

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 86_400_000
const caDays = 3650
/** Browsers refuse more than 398 days. */
const leafDays = 90
const keyName = 'ca-key.pem'

/** What is to be made. */
interface Order extends LocalCaOptions {
  readonly names: readonly string[]
  /** The CA that there is; null for none that may go on. */
  readonly ca: X509Certificate | null
}

/** Writes a new certificate, and before it a new CA where the old one cannot sign. */
export async function makeCertificate(files: LocalCertificate, order: Order): Promise<void> {
  const { names, now } = order
  const authority = (await readAuthority(order)) ?? (await newAuthority(files.caFile, order))
  const keys = await newKeys()
  const certificate = await issue(authority, { names, keys, now })
  const chain = `${certificate.toString('pem')}\n${authority.certificate.toString('pem')}\n`
  write(files.keyFile, await pkcs8(keys.privateKey))
  write(files.certFile, chain)
}

interface Authority {
  readonly certificate: Certificate
  readonly key: webcrypto.CryptoKey
}

async function readAuthority({ folder, ca }: Order): Promise<Authority | null> {
  if (ca === null) return null
  try {
    const [der] = PemConverter.decode(readFileSync(join(folder, keyName), 'utf8'))
    if (der === undefined) return null
    const key = await webcrypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign'])
    return { certificate: new Certificate(ca.raw), key }
  } catch {
    return null // without its key the old CA can sign nothing
  }
}

async function newAuthority(caFile: string, { folder, hostname, now }: Order): Promise<Authority> {
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
  write(join(folder, keyName), await pkcs8(keys.privateKey))
  write(caFile, `${certificate.toString('pem')}\n`)
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
