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

/** One list of secret names, made ready. */
export class Redaction {
  readonly #names: ReadonlySet<string>
  readonly #pairs: RegExp | null
  readonly #json: RegExp | null

  constructor(names: readonly string[] = defaultSecrets) {
    this.#names = new Set(names.map((name) => name.toLowerCase()))
    const any = names.map((name) => name.replaceAll(/[^\w-]/g, (odd) => `\\${odd}`)).join('|')
    // A name stands at the start of a form or after one of its separators.
    this.#pairs = any === '' ? null : new RegExp(`(^|[?&;\\s])(${any})(=)([^&;\\s]+)`, 'gi')
    this.#json =
      any === ''
        ? null
        : new RegExp(`("(?:${any})"\\s*:\\s*)("(?:[^"\\\\]|\\\\.)*"?|[\\w.+-]+)`, 'gi')
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
    const last = name
      .slice(-nameCharactersMax)
      .split(/[.[\]]+/)
      .filter((part) => part !== '')
    return this.isSecret(name) || this.isSecret(last.at(-1) ?? '')
  }

  /** The text with the values of secret names as stars: `password=***`, `"token": "***"`. */
  text(text: string): string {
    if (this.#pairs === null || this.#json === null) return text
    let shown = text
    if (text.includes('=')) {
      shown = shown.replace(
        this.#pairs,
        (_, before: string, name: string, equals: string, value: string) =>
          `${before}${name}${equals}${stars(value)}`,
      )
    }
    if (!text.includes('"')) return shown
    return shown.replace(this.#json, (_, name: string, value: string) => {
      if (!value.startsWith('"')) return `${name}${stars(value)}`
      const end = value.length > 1 && value.endsWith('"') ? '"' : ''
      return `${name}"${stars(value.slice(1, value.length - end.length))}${end}`
    })
  }
}

/** As many stars as the secret has characters. */
export function stars(secret: string): string {
  return '*'.repeat(secret.length)
}
