/** From clear HTTP to HTTPS: the same host and target, on the advertised port. */
import type { RespondPlan } from './plan.ts'
import type { RequestHead } from './request.ts'
import { hostOf } from './router.ts'

export interface RedirectOptions {
  /** Off: clear requests are served like any other. */
  readonly enabled: boolean
  /** The port under which clients reach the HTTPS listener. */
  readonly httpsPort: number
}

/** A redirect, `no-host` when there is nowhere to send the client, or null: serve it here. */
export function redirect(
  request: Pick<RequestHead, 'tls' | 'authority' | 'facts' | 'doubts'>,
  { enabled, httpsPort }: RedirectOptions,
): RespondPlan | 'no-host' | null {
  if (!enabled || request.tls) return null
  const host = hostOf(request.authority)
  // The host goes into Location, so an odd one is as good as none.
  if (host === '' || request.doubts('oddHost')) return 'no-host'
  const port = httpsPort === 443 ? '' : `:${httpsPort}`
  const location = `https://${host}${port}${originForm(request.facts.target)}`
  return {
    kind: 'respond',
    // 308 keeps method and body, where 301 lets a client turn POST into GET.
    status: 308,
    headers: [['location', location]],
    body: '',
    close: false,
  }
}

// RFC 9112 §3.2: absolute-form carries an authority that Location must not repeat, `*` no path.
function originForm(target: string): string {
  const path = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
  const rooted = path.startsWith('/') ? path : path.startsWith('?') ? `/${path}` : '/'
  // Location is a URI reference: a byte that is none of its characters could end the field early.
  return rooted.replace(/[^!-~]/g, (byte) => `%${hex(byte)}`)
}

function hex(byte: string): string {
  return byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')
}
