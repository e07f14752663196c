/** Reads one cookie of a request, and writes the one that keeps a client at its endpoint. */
import type { RequestHead } from '../request.ts'

/** The first value of a cookie (RFC 6265 §4.2); null when the request has none of that name. */
export function cookieOf(request: Pick<RequestHead, 'headerAll'>, name: string): string | null {
  for (const field of request.headerAll('cookie')) {
    // Most fields do not have it: looking is cheaper than taking apart.
    if (!field.includes(name)) continue
    for (const pair of field.split(';')) {
      const equals = pair.indexOf('=')
      if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
    }
  }
  return null
}

/** `Set-Cookie` for the session of the browser; scripts of the page cannot read it. */
export function stickyCookie(name: string, token: string, isSecure: boolean): string {
  return `${name}=${token}; Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`
}
