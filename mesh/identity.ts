/**
 * Who a node is: an Ed25519 key that never leaves it. It signs what the node says of itself, and it
 * is the key of its TLS certificate, so that a connection proves who asks. The certificate is only
 * the vessel of the key: both ends look at nothing else in it, so no clock can break it.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
  type X509Certificate,
} from 'node:crypto'
import { z } from 'zod'
import { type Entry, type NodeRecord, nodeRecord, type SignedRecord } from './entry.ts'
import { readState, writeOnce } from './folder.ts'
import { isKey } from './entry.ts'
import { meshLimits } from './limits.ts'
import { areSigned } from './signatures.ts'

/** The folder's file with the keys. */
const fileName = 'identity.json'

const stored = z.object({
  /** PEM: the Ed25519 key and the certificate around it. */
  key: z.string(),
  certificate: z.string(),
  /** WireGuard's private key, 32 bytes in base64. */
  wireguardKey: z.string().refine(isKey),
})

/** The keys of a node. */
export interface Identity {
  readonly id: string
  /** The public key. */
  readonly identity: string
  readonly key: string
  readonly certificate: string
  readonly wireguard: { readonly privateKey: string; readonly publicKey: string }
}

/** The identity of the folder; made when there is none. */
export async function identityOf(folder: string): Promise<Identity> {
  let found = readState(folder, fileName, stored)
  if (found === null) {
    const text = JSON.stringify(await newIdentity())
    found = stored.parse(JSON.parse(writeOnce(folder, fileName, text)))
  }
  return identityFrom(found)
}

/** One that is kept nowhere: of a device that is no agent. */
export async function passingIdentity(): Promise<Identity> {
  return identityFrom(await newIdentity())
}

function identityFrom({ key, certificate, wireguardKey }: z.infer<typeof stored>): Identity {
  const publicKey = publicKeyOf(wireguardKey)
  const identity = rawKey(createPublicKey(key))
  const wireguard = { privateKey: wireguardKey, publicKey }
  return { id: idOf(identity), identity, key, certificate, wireguard }
}

async function newIdentity(): Promise<z.infer<typeof stored>> {
  const { selfSigned } = await import('./certificate.ts') // the library takes its time
  return { ...(await selfSigned('Ed25519', 'edge mesh node')), wireguardKey: newWireguardKey() }
}

/** A private key. */
export function newWireguardKey(): string {
  const { privateKey } = generateKeyPairSync('x25519')
  const { d = '' } = privateKey.export({ format: 'jwk' })
  return Buffer.from(d, 'base64url').toString('base64')
}

/** WireGuard's public key of a private one (RFC 7748). */
export function publicKeyOf(privateKey: string): string {
  // RFC 8410 §7: what stands before the 32 bytes of an X25519 key.
  const head = Buffer.from('302e020100300506032b656e04220420', 'hex')
  const der = Buffer.concat([head, Buffer.from(privateKey, 'base64')])
  return rawKey(createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })))
}

/** The 32 bytes of an Ed25519 or X25519 key in base64. */
function rawKey(key: KeyObject): string {
  const { x = '' } = key.export({ format: 'jwk' })
  return Buffer.from(x, 'base64url').toString('base64')
}

/** The id that belongs to an identity. */
export function idOf(identity: string): string {
  return createHash('sha256').update(Buffer.from(identity, 'base64')).digest('hex').slice(0, 32)
}

/** The identity in the certificate of a connection; null when its key is of another kind. */
export function identityIn(certificate: X509Certificate): string | null {
  const key = certificate.publicKey
  return key.asymmetricKeyType === 'ed25519' ? rawKey(key) : null
}

// What is signed begins with what it is, so that no signature serves two ends.
const signedText = (record: string): Buffer => Buffer.from(`edge mesh record 1\n${record}`)

/** The record in the form that others can check. */
export function signRecord({ key }: Identity, record: NodeRecord): SignedRecord {
  const text = JSON.stringify(record)
  const signature = sign(null, signedText(text), createPrivateKey(key)).toString('base64')
  return { record: text, signature }
}

/** What is checked of an entry. */
type Signed = Pick<Entry, 'record' | 'signature' | 'identity'>

/** The record in it; null when its node did not sign it, or it says nothing that can be used. */
export function verifiedRecord(signed: Signed): NodeRecord | null {
  const { record, signature, identity } = signed
  const x = Buffer.from(identity, 'base64').toString('base64url')
  try {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    const isSigned = verify(null, signedText(record), key, Buffer.from(signature, 'base64'))
    return isSigned ? usable(record) : null
  } catch {
    return null // the caller says whose it is
  }
}

/** The same of many, in their order. */
export function verifiedRecords(all: readonly Signed[]): readonly (NodeRecord | null)[] {
  const { signaturesAtOnceMin: least, signaturesAtOnceMax: most } = meshLimits
  if (all.length < least) return all.map(verifiedRecord)
  const batches = Array.from({ length: Math.ceil(all.length / most) }, (_, number) =>
    all.slice(number * most, (number + 1) * most),
  )
  return batches.flatMap((batch) => {
    const signed = areSigned(
      batch.map(({ record, signature, identity }) => ({
        key: Buffer.from(identity, 'base64'),
        text: signedText(record),
        signature: Buffer.from(signature, 'base64'),
      })),
    )
    return batch.map(({ record }, at) => (signed[at] === true ? usable(record) : null))
  })
}

function usable(record: string): NodeRecord | null {
  try {
    return nodeRecord.parse(JSON.parse(record))
  } catch {
    return null
  }
}
