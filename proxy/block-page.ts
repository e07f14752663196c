/** The pages that this proxy writes itself: for a person, a program, or plain. No rule text. */
import type { HeaderField } from './plan.ts'

/** What a page tells about the exchange it answers. */
export interface PageContext {
  readonly requestId: string
  readonly timeMs: number
  /** The Accept field, '' when there is none. */
  readonly accept: string
  /** Whether the request is gRPC, whose clients map the status and want no page. */
  readonly grpc: boolean
}

/** What went wrong, in words for the client. */
export interface Problem {
  readonly status: number
  readonly title: string
  /** A name from the error table; '' for a WAF denial, which is none. */
  readonly code: string
}

export interface Page {
  readonly headers: readonly HeaderField[]
  readonly body: string
}

type Format = 'html' | 'json' | 'text'

const writers: Record<Format, (problem: Problem, context: PageContext) => string> = {
  html,
  json,
  text: ({ title }, { requestId }) =>
    requestId === '' ? `${title}\n` : `${title}\nRequest: ${requestId}\n`,
}

const contentTypes: Record<Format, string> = {
  html: 'text/html; charset=utf-8',
  json: 'application/problem+json',
  text: 'text/plain; charset=utf-8',
}

/** What a WAF denial says. The status is the rule's. */
export function denialProblem(status: number): Problem {
  return { status, title: 'This request was blocked.', code: '' }
}

/** One page in the format that the client prefers. */
export function page(problem: Problem, context: PageContext): Page {
  const format = context.grpc ? 'text' : preferredFormat(context.accept)
  const headers: HeaderField[] = [
    ['content-type', contentTypes[format]],
    // A shared cache must not give one client's denial to another.
    ['cache-control', 'no-store'],
    ['vary', 'accept'],
    ['x-content-type-options', 'nosniff'],
  ]
  if (format === 'html') {
    headers.push(['content-security-policy', "default-src 'none'; style-src 'unsafe-inline'"])
  }
  return { headers, body: writers[format](problem, context) }
}

// RFC 9110 §12.5.1, of which two types matter here: quality first, then the order written.
function preferredFormat(accept: string): Format {
  let best: Format = 'text'
  let bestQuality = 0
  for (const range of accept.toLowerCase().slice(0, 1_024).split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim())
    const format = formatOf(type)
    const quality = qualityOf(parameters)
    if (format !== null && quality > bestQuality) {
      best = format
      bestQuality = quality
    }
  }
  return best
}

function formatOf(type: string): Format | null {
  if (type === 'text/html' || type === 'application/xhtml+xml') return 'html'
  if (type === 'application/json' || type.endsWith('+json')) return 'json'
  return type === 'text/plain' ? 'text' : null
}

function qualityOf(parameters: readonly string[]): number {
  const written = parameters.find((parameter) => parameter.startsWith('q='))
  if (written === undefined) return 1
  const quality = Number(written.slice(2))
  return Number.isFinite(quality) ? quality : 0
}

function json({ status, title, code }: Problem, { requestId, timeMs }: PageContext): string {
  return JSON.stringify({
    type: 'about:blank',
    title,
    status,
    ...(code === '' ? {} : { code }),
    ...(requestId === '' ? {} : { requestId, time: new Date(timeMs).toISOString() }),
  })
}

const style =
  'body{margin:0;min-height:100vh;display:grid;place-items:center;background:#f6f7f9;' +
  'color:#1c2430;font:16px/1.5 system-ui,sans-serif}' +
  'main{max-width:34rem;margin:1.5rem;padding:2rem 2.25rem;background:#fff;' +
  'border:1px solid #dfe3e8;border-radius:12px}' +
  'p{margin:.25rem 0 0}.status{color:#667085;font-size:.875rem;margin:0}' +
  'h1{font-size:1.375rem;line-height:1.3;margin:.25rem 0 .75rem}' +
  'dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:1.5rem 0 0;' +
  'padding-top:1rem;border-top:1px solid #dfe3e8;font-size:.875rem}dt{color:#667085}' +
  'dd{margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere}' +
  '@media(prefers-color-scheme:dark){body{background:#12161c;color:#e6e9ee}' +
  'main{background:#1a2029;border-color:#2c3440}dl{border-color:#2c3440}' +
  '.status,dt{color:#98a2b3}}'

function html({ status, title }: Problem, { requestId, timeMs }: PageContext): string {
  const time = new Date(timeMs).toISOString().replace('T', ' ').slice(0, 19)
  const facts =
    requestId === ''
      ? ''
      : `<dl><dt>Request</dt><dd>${escapeHtml(requestId)}</dd>` +
        `<dt>Time</dt><dd>${time} UTC</dd></dl>`
  const advice =
    requestId === '' ? '' : '<p>If you think this is a mistake, send the site this request id.</p>'
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width,initial-scale=1">' +
    `<meta name="robots" content="noindex"><title>${escapeHtml(title)}</title>` +
    `<style>${style}</style></head><body><main><p class="status">${status}</p>` +
    `<h1>${escapeHtml(title)}</h1>${advice}${facts}</main></body></html>\n`
  )
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

// A request id may come from a trusted peer, so it is still text from outside.
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '')
}
