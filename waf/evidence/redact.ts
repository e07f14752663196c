/**
 * What must not be kept: values of cookies, credentials and arguments whose names say that they are
 * secret. Lengths stay, so that places in a text keep their meaning.
 */

/** Names whose values are secret unless the operator says otherwise; without case. */
export const defaultSecrets: readonly string[] = [
  'authorization',
  'cookie',
  'proxy-authorization',
  'set-cookie',
  'access_token',
  'api_key',
  'apikey',
  'auth',
  'client_secret',
  'code',
  'id_token',
  'jwt',
  'key',
  'passwd',
  'password',
  'pwd',
  'refresh_token',
  'secret',
  'session',
  'sessionid',
  'sig',
  'signature',
  'token',
]

/** Variables whose members go by the name of a header that holds them all. */
const headersOf: Readonly<Record<string, string>> = {
  REQUEST_COOKIES: 'cookie',
}

const nameCharactersMax = 256

/** A name where a pair may begin: at the start, or after a separator. */
const pairs = /(?:^|[?&;\s])([^=?&;\s]{1,256})=/g
const pairEnd = /[&;\s]|$/g

/** One list of secret names, made ready. */
export class Redaction {
  readonly #names: ReadonlySet<string>
  readonly #json: RegExp | null

  constructor(names: readonly string[] = defaultSecrets) {
    this.#names = new Set(names.map((name) => name.toLowerCase()))
    const any = names.map((name) => name.replaceAll(/[^\w-]/g, (odd) => `\\${odd}`)).join('|')
    const value = String.raw`"(?:[^"\\]|\\.)*"?|[\w.+-]+`
    this.#json = any === '' ? null : new RegExp(`("(?:${any})"\\s*:\\s*)(${value})`, 'gi')
  }

  /** Whether the value of a header or an argument of this name is secret. */
  isSecret(name: string): boolean {
    return this.#names.has(name.toLowerCase())
  }

  /** Whether a member of a collection is: `REQUEST_HEADERS:Authorization`, `ARGS:json.password`. */
  hides(variable: string, name: string | null): boolean {
    if (name === null || variable.endsWith('_NAMES')) return false
    const header = headersOf[variable]
    if (header !== undefined && this.#names.has(header)) return true
    return this.#isSecretMember(name)
  }

  /** The text with the values of secret names as stars: `password=***`, `"token": "***"`. */
  text(text: string): string {
    if (this.#json === null) return text
    const shown = text.includes('=') ? this.#withoutPairs(text) : text
    if (!text.includes('"')) return shown
    return shown.replace(this.#json, (_, name: string, value: string) => {
      if (!value.startsWith('"')) return `${name}${stars(value)}`
      const end = value.length > 1 && value.endsWith('"') ? '"' : ''
      return `${name}"${stars(value.slice(1, value.length - end.length))}${end}`
    })
  }

  #withoutPairs(text: string): string {
    let shown = ''
    let from = 0
    for (const found of text.matchAll(pairs)) {
      const start = found.index + found[0].length
      if (start < from || !this.#isSecretMember(plain(found[1] ?? ''))) continue
      pairEnd.lastIndex = start
      const end = pairEnd.exec(text)?.index ?? text.length
      shown += text.slice(from, start) + stars(text.slice(start, end))
      from = end
    }
    return shown + text.slice(from)
  }

  #isSecretMember(name: string): boolean {
    if (this.isSecret(name)) return true
    const last = name.slice(-nameCharactersMax).split(/[.[\]]+/)
    return this.isSecret(last.findLast((part) => part !== '') ?? '')
  }
}

/** Only ASCII escapes can spell a name of the list; anything else may stay as it is. */
function plain(name: string): string {
  return name.replaceAll(/%([0-7][0-9a-f])/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

/** As many stars as the secret has characters. */
export function stars(secret: string): string {
  return '*'.repeat(secret.length)
}
