/** The tokens of a registry: made here, spent within the transaction that lets a node in. */
import type { DatabaseSync } from 'node:sqlite'
import { MeshFault } from '../fault.ts'
import { meshLimits } from '../limits.ts'
import { isSharedKey, proofOf, tokenOfSharedKey } from '../shared-key.ts'
import { hashOfSecret, isSecret, newToken, parseToken, tokenText } from '../token.ts'

/** What a token is to allow. */
export interface TokenOrder {
  /** Of the coordinator it is for. */
  readonly pin: string
  readonly uses: number
  readonly expiresAtMs: number
  readonly labels: Readonly<Record<string, string>>
  /** Ranges that nodes may advertise; none: any. */
  readonly cidrs: readonly string[]
  readonly nowMs: number
}

/** What goes from a token to the node that used it; JSON, as it is stored. */
interface Grant {
  /** The token's. */
  readonly id: string
  readonly labels: string
  readonly cidrs: string
}

/** Uses left of a token that is never spent. */
const withoutEnd = -1

const refused = (code: string, message: string): MeshFault =>
  new MeshFault(code, {
    where: '--token',
    message,
    mend: 'make a new one at the coordinator: edge mesh token',
  })

export class Tokens {
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** Its text; only a hash of the secret is kept. */
  create({ pin, uses, expiresAtMs, labels, cidrs, nowMs }: TokenOrder): string {
    this.#database.prepare('DELETE FROM tokens WHERE expires_at_ms <= ?').run(nowMs)
    const { count } = this.#database.prepare('SELECT COUNT(*) AS count FROM tokens').get() ?? {}
    if (Number(count) >= meshLimits.tokensMax) {
      throw new MeshFault('TOKENS_MAX', {
        where: 'the coordinator',
        message: `there are ${meshLimits.tokensMax} tokens that can still be used`,
        mend: 'let some expire, and make tokens with --uses for many nodes',
      })
    }
    const token = newToken(pin)
    this.#database
      .prepare(
        `INSERT INTO tokens (id, hash, uses_left, expires_at_ms, labels, cidrs)
         VALUES (?, ?, ?, ?, ?, ?)`,
      )
      .run(
        token.id,
        hashOfSecret(token.secret),
        uses,
        expiresAtMs,
        JSON.stringify(labels),
        JSON.stringify(cidrs),
      )
    return tokenText(token)
  }

  /** A pre-shared key in place of earlier ones: as a token, without end. */
  share(key: string): void {
    const { id, secret } = tokenOfSharedKey(key)
    this.#database.prepare('DELETE FROM tokens WHERE uses_left = ? AND id <> ?').run(withoutEnd, id)
    this.#database
      .prepare(
        `INSERT OR IGNORE INTO tokens (id, hash, uses_left, expires_at_ms, labels, cidrs)
         VALUES (?, ?, ?, ?, '{}', '[]')`,
      )
      .run(id, hashOfSecret(secret), withoutEnd, Number.MAX_SAFE_INTEGER)
  }

  /** What proves to whoever has a pre-shared key that we have it; a refusal where we do not. */
  proof({ id, nonce }: { readonly id: string; readonly nonce: string }, pin: string): string {
    const row = this.#database
      .prepare('SELECT hash FROM tokens WHERE id = ? AND uses_left = ?')
      .get(id, withoutEnd)
    const hash = row?.['hash']
    if (hash instanceof Uint8Array) return proofOf(hash, nonce, pin)
    throw refused('TOKEN_UNKNOWN', 'the coordinator does not know this pre-shared key')
  }

  /** The id of a pre-shared key that lets in; null for any other. */
  shared(key: string): string | null {
    if (!isSharedKey(key)) return null
    const { id, secret } = tokenOfSharedKey(key)
    const row = this.#database
      .prepare('SELECT hash FROM tokens WHERE id = ? AND uses_left = ?')
      .get(id, withoutEnd)
    const hash = row?.['hash']
    return hash instanceof Uint8Array && isSecret(secret, hash) ? id : null
  }

  /** Takes one use of it; within a transaction. */
  spend(text: string, nowMs: number): Grant {
    const token = parseToken(text)
    if (token === null) throw refused('TOKEN_MALFORMED', 'it is not a token')
    const row = this.#database.prepare('SELECT * FROM tokens WHERE id = ?').get(token.id)
    const hash = row?.['hash']
    if (row === undefined || !(hash instanceof Uint8Array) || !isSecret(token.secret, hash)) {
      throw refused('TOKEN_UNKNOWN', 'the coordinator does not know it, or it expired long ago')
    }
    if (Number(row['expires_at_ms']) <= nowMs) {
      const at = new Date(Number(row['expires_at_ms'])).toISOString()
      throw refused('TOKEN_EXPIRED', `it expired at ${at}`)
    }
    const left = Number(row['uses_left'])
    if (left === 0) throw refused('TOKEN_SPENT', 'it was used already')
    this.#database
      .prepare('UPDATE tokens SET uses_left = ? WHERE id = ?')
      .run(left === withoutEnd ? left : left - 1, token.id)
    return { id: token.id, labels: String(row['labels']), cidrs: String(row['cidrs']) }
  }
}
