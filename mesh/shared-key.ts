/**
 * Seed 000's pre-shared key as a token: 32 bytes that many nodes have, from which both ends derive
 * a token's id and secret. It names no coordinator, so the coordinator proves that it has the key:
 * what it answers is bound to the certificate of the connection, and serves nobody in between.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { request } from 'node:https'
import { TLSSocket } from 'node:tls'
import { z } from 'zod'
import { MeshFault } from './fault.ts'
import { meshLimits } from './limits.ts'
import { hashOfSecret, pinOf, type Token, tokenText } from './token.ts'

/** What is asked of a coordinator. */
export const proofRequest = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  nonce: z.string().regex(/^[0-9a-f]{64}$/),
})
/** And what it answers. */
export const proofAnswer = z.object({ proof: z.string().regex(/^[0-9a-f]{64}$/) })

/** 64 hex characters, as seed 000's control plane makes them; nothing that people choose. */
export function isSharedKey(text: string): boolean {
  return /^[0-9a-f]{64}$/i.test(text.trim())
}

/** The token that a key stands for. */
export function tokenOfSharedKey(key: string): Pick<Token, 'id' | 'secret'> {
  const bytes = Buffer.from(key.trim(), 'hex')
  const derived = (what: string): Buffer =>
    createHash('sha256').update(`edge mesh shared key ${what} 1\n`).update(bytes).digest()
  return { id: derived('id').toString('hex', 0, 8), secret: derived('secret').subarray(0, 24) }
}

/** What shows that somebody has the hash of a secret, at the end that a pin names. */
export function proofOf(hash: Uint8Array, nonce: string, pin: string): string {
  return createHmac('sha256', hash).update(`edge mesh proof 1\n${nonce}\n${pin}`).digest('hex')
}

/** The token in full, with the pin of a coordinator that proved to have the key. */
export async function tokenProvedBy(url: string, key: string, nonce: string): Promise<string> {
  const { id, secret } = tokenOfSharedKey(key)
  const { pin, proof } = await askProof(url, { id, nonce })
  const wanted = Buffer.from(proofOf(hashOfSecret(secret), nonce, pin), 'hex')
  if (timingSafeEqual(wanted, Buffer.from(proof, 'hex'))) return tokenText({ id, secret, pin })
  throw new MeshFault('COORDINATOR_OTHER', {
    where: '--coordinator',
    message: `${new URL(url).hostname} does not have the pre-shared key`,
    mend: 'correct the URL; a proxy between them must not end TLS',
  })
}

async function askProof(
  url: string,
  body: z.infer<typeof proofRequest>,
): Promise<{ readonly pin: string; readonly proof: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ pin: string; proof: string }>()
  const asked = request(`${url}/v1/proof`, {
    method: 'POST',
    // Known by the proof: no authority has to vouch for it.
    rejectUnauthorized: false,
    agent: false,
    timeout: meshLimits.requestTimeoutMs,
    headers: { 'content-type': 'application/json' },
  })
  asked.on('timeout', () => asked.destroy(new Error('the coordinator does not answer')))
  asked.on('error', reject)
  asked.on('response', (answer) => {
    const shown = answer.socket instanceof TLSSocket ? answer.socket.getPeerX509Certificate() : null
    let text = ''
    answer.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.length > meshLimits.requestBytesMax) asked.destroy(new Error('too long an answer'))
    })
    answer.on('end', () => {
      const found = proofAnswer.safeParse(jsonOf(text))
      if (shown instanceof Object && found.success) {
        resolve({ pin: pinOf(shown), proof: found.data.proof })
      } else reject(refusalIn(text, answer.statusCode ?? 0))
    })
  })
  asked.end(JSON.stringify(body))
  return promise
}

const refusal = z.object({
  code: z.string(),
  where: z.string(),
  message: z.string(),
  mend: z.string(),
})

function refusalIn(text: string, status: number): Error {
  const found = refusal.safeParse(jsonOf(text))
  if (!found.success) return new Error(`the coordinator answered ${status}`)
  return new MeshFault(found.data.code, found.data)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
