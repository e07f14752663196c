/** Makes self-signed certificates. Loaded only when there is one to make. */
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { cryptoProvider, PemConverter, X509CertificateGenerator } from '@peculiar/x509'

cryptoProvider.set(webcrypto)

const algorithms = {
  Ed25519: { name: 'Ed25519' },
  // Browsers take no Ed25519.
  'P-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
} as const

/** A new key and a certificate around it, both PEM. Known by the key, so it has no end. */
export async function selfSigned(
  algorithm: keyof typeof algorithms,
  name: string,
): Promise<{ readonly key: string; readonly certificate: string }> {
  const signingAlgorithm = algorithms[algorithm]
  const keys = await generate(signingAlgorithm)
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ O: ['quic-proxy-waf'] }, { CN: [name] }],
    keys,
    signingAlgorithm,
    serialNumber: `01${Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString('hex')}`,
    notBefore: new Date('2000-01-01T00:00:00Z'),
    notAfter: new Date('9999-12-31T23:59:59Z'), // RFC 5280 §4.1.2.5: no end
  })
  const der = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  const key = `${PemConverter.encode(der, 'PRIVATE KEY')}\n`
  return { key, certificate: `${certificate.toString('pem')}\n` }
}

async function generate(
  algorithm: (typeof algorithms)[keyof typeof algorithms],
): Promise<webcrypto.CryptoKeyPair> {
  const made = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  if ('privateKey' in made) return made
  throw new Error(`${algorithm.name} makes no pair of keys`)
}
