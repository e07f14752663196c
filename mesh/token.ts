/** The texts that let nodes in, and the one that makes such: a secret, and whose it is. */
import { createHash, randomBytes, timingSafeEqual, type X509Certificate } from 'node:crypto'

/** `edge1.` the token's id and secret `.` the SHA-256 of the coordinator's public key. */
export interface Token {
  readonly id: string
  readonly secret: Buffer
  readonly pin: string
}

const idBytes = 8
const secretBytes = 24

/** A new secret with its name. */
export function newToken(pin: string): Token {
  return { id: randomBytes(idBytes).toString('hex'), secret: randomBytes(secretBytes), pin }
}

export function tokenText({ id, secret, pin }: Token): string {
  const first = Buffer.concat([Buffer.from(id, 'hex'), secret]).toString('base64url')
  return `edge1.${first}.${pin}`
}

/** Null when it is no token of ours. */
export function parseToken(text: string): Token | null {
  const [, first = '', pin = ''] = /^edge1\.([\w-]{43})\.([\w-]{43})$/.exec(text.trim()) ?? []
  const bytes = Buffer.from(first, 'base64url')
  if (bytes.length !== idBytes + secretBytes) return null
  return { id: bytes.subarray(0, idBytes).toString('hex'), secret: bytes.subarray(idBytes), pin }
}

/** What is stored of a secret; it has too many bits to be guessed from its hash. */
export function hashOfSecret(secret: Buffer): Buffer {
  return createHash('sha256').update('edge mesh token 1\n').update(secret).digest()
}

/** In a time that tells nothing. */
export function isSecret(secret: Buffer, hash: Uint8Array): boolean {
  const own = hashOfSecret(secret)
  return own.length === hash.length && timingSafeEqual(own, hash)
}

/** What a coordinator is known by: its public key, so that it may renew its certificate. */
export function pinOf(certificate: X509Certificate): string {
  const der = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(der).digest('base64url')
}

/** `edgeadmin1.` the secret `.` the pin: whoever has it may make tokens from afar. */
export interface AdminKey {
  readonly secret: Buffer
  readonly pin: string
}

export function newAdminKey(pin: string): string {
  return `edgeadmin1.${randomBytes(adminBytes).toString('base64url')}.${pin}`
}

/** Null when it is none of ours. */
export function parseAdminKey(text: string): AdminKey | null {
  const [, secret = '', pin = ''] = /^edgeadmin1\.([\w-]{43})\.([\w-]{43})$/.exec(text.trim()) ?? []
  return secret === '' ? null : { secret: Buffer.from(secret, 'base64url'), pin }
}

const adminBytes = 32
