/** Who asks the coordinator and for what, checked. */
import assert from 'node:assert/strict'
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { nodeRecord, type SignedRecord } from '../entry.ts'
import { MeshFault } from '../fault.ts'
import { idOf, verifiedRecord } from '../identity.ts'
import { isSecret } from '../token.ts'
import { AskingSocket } from './front.ts'
import { type Candidate, type Registry, removedNode, unknownNode } from './registry.ts'

/** A value that is what a schema says. */
export function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw malformed(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not understood'}`)
}

function malformed(message: string): MeshFault {
  const mend = 'correct that; agents and their coordinator should be of the same version'
  return new MeshFault('REQUEST_MALFORMED', { where: 'the request', message, mend })
}

/** What stands for the connection of a request. */
export function socketOf({ socket }: FastifyRequest): AskingSocket {
  assert(socket instanceof AskingSocket, 'requests come from the front')
  return socket
}

/** The identity behind a connection. */
function identityOf(request: FastifyRequest): string {
  const { identity } = socketOf(request)
  if (identity !== null) return identity
  throw new MeshFault('IDENTITY_MISSING', {
    where: 'the connection',
    message: 'it shows no Ed25519 certificate',
    mend: 'agents show theirs by themselves; a proxy between them must not end TLS',
  })
}

/** Only who has the admin key goes on; browsers give it as the password of any name. */
export function requireAdmin({ headers }: FastifyRequest, hash: Buffer): void {
  const { authorization = '' } = headers
  const [, bearer = ''] = /^Bearer ([\w.-]{1,200})$/.exec(authorization) ?? []
  const [, basic = ''] = /^Basic ([\w+/=]{1,400})$/.exec(authorization) ?? []
  const password = Buffer.from(basic, 'base64')
    .toString('latin1')
    .replace(/^[^:]*:/, '')
  const text = bearer === '' ? password : bearer
  // The whole key as its file has it, or the secret in it.
  const secret = /^edgeadmin1\.([\w-]+)\./.exec(text)?.[1] ?? text
  if (isSecret(Buffer.from(secret, 'base64url'), hash)) return
  throw new MeshFault('ADMIN_KEY_WRONG', {
    where: '--admin-key',
    message: 'it is not the key of this coordinator',
    mend: "take the file admin-key of the coordinator's folder of state",
  })
}

/** The id of a node that is in the mesh. */
export function member(request: FastifyRequest, registry: Registry): string {
  const id = idOf(identityOf(request))
  if (registry.has(id)) return id
  throw registry.isRevoked(id) ? removedNode() : unknownNode()
}

/** What a node says of itself, if it said that. */
export function candidate(request: FastifyRequest, signed: SignedRecord): Candidate {
  const identity = identityOf(request)
  const record = verifiedRecord({ ...signed, identity })
  if (record === null) {
    checked(nodeRecord, jsonOf(signed.record))
    throw malformed('the record is not signed by this node')
  }
  return { identity, signed, record, observed: observedOf(request) }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw malformed('the record is no JSON')
  }
}

/** Null for an address that says nothing to other machines. */
export function observedOf({ socket }: FastifyRequest): string | null {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  const isHere = address === '' || address === '::1' || address.startsWith('127.')
  return isHere || /^fe80:/i.test(address) ? null : address
}
