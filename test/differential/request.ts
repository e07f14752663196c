/** A generated request in parts, so that a difference can be shrunk by leaving parts out. */
import type { Draw } from './draw.ts'

/** A name and a value, Latin-1 and not yet written for their place. */
export type Pair = readonly [string, string]

/** What a body is made of. */
export type BodyKind = 'form' | 'multipart' | 'json' | 'xml' | 'text'

/** Everything that is to be shrunk is a list or a text. */
export interface Parts {
  readonly method: string
  readonly path: string
  readonly query: readonly Pair[]
  /** Follows the path and the query as it is. */
  readonly tail: string
  readonly cookies: readonly Pair[]
  readonly headers: readonly Pair[]
  readonly kind: BodyKind | null
  readonly contentType: string
  readonly body: readonly Pair[]
  /** Chooses between ways to write the same; part of the request so that it stays the same. */
  readonly style: number
}

/** A request as both engines get it: texts Latin-1. */
export interface PlainRequest {
  readonly method: string
  readonly target: string
  readonly headers: readonly Pair[]
  readonly body: Uint8Array | null
}

const boundary = 'edgeBoundary7MA4'

/** Bytes that may stand in a request line or a field value as they are. */
export function written(text: string, pattern: RegExp): string {
  return text.replaceAll(pattern, (one) => `%${one.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

const notInQuery = /[\0-\x20"#&<>\x7f-\xff]/g
const notInPath = /[\0-\x20"#?<>\\^`{|}\x7f-\xff]/g
const notInTarget = /[\0-\x20\x7f-\xff]/g
const notInField = /[\0-\x08\x0a-\x1f\x7f]/g

/** Writes the parts as a request. */
export function assemble(parts: Parts): PlainRequest {
  const query = pairs(parts.query, notInQuery)
  const cookie = parts.cookies.map(([name, value]) => `${name}=${value.replaceAll(/[;]/g, '%3b')}`)
  const headers: Pair[] = parts.headers.map(([name, value]) => [name, field(value)])
  if (cookie.length > 0) headers.push(['Cookie', field(cookie.join('; '))])
  const body = parts.kind === null ? null : Buffer.from(bodyText(parts, parts.kind), 'latin1')
  if (body !== null) {
    if (parts.contentType !== '') headers.push(['Content-Type', field(parts.contentType)])
    headers.push(['Content-Length', String(body.length)])
  }
  const path = written(parts.path, notInPath)
  return {
    method: parts.method,
    target: (query === '' ? path : `${path}?${query}`) + written(parts.tail, notInTarget),
    headers,
    body: body?.length === 0 ? null : body,
  }
}

/** RFC 9110 §5.5: no controls, and blanks at the ends are no part of a value. */
function field(value: string): string {
  return value.replaceAll(notInField, ' ').trim()
}

function pairs(list: readonly Pair[], pattern: RegExp): string {
  const write = (text: string): string => written(text, pattern)
  return list.map(([name, value]) => `${write(name)}=${write(value)}`).join('&')
}

function bodyText(parts: Parts, kind: BodyKind): string {
  const writers: Readonly<Record<BodyKind, () => string>> = {
    form: () => pairs(parts.body, parts.style % 2 === 0 ? /[&%+=\0-\x20]/g : /[&]/g),
    multipart: () => multipart(parts),
    json: () => JSON.stringify(json(parts)),
    xml: () => xml(parts),
    text: () => parts.body.map(([, value]) => value).join('\n'),
  }
  return writers[kind]()
}

function multipart({ body, style }: Parts): string {
  const quoted = (text: string): string => text.replaceAll(/["\r\n\0\\]/g, '_')
  const pieces = body.map(([name, value], index) => {
    const file = (style + index) % 3 === 0 ? `; filename="${quoted(value).slice(0, 80)}"` : ''
    const type = (style + index) % 4 === 0 ? '\r\nContent-Type: text/plain' : ''
    const head = `Content-Disposition: form-data; name="${quoted(name)}"${file}${type}`
    return `--${boundary}\r\n${head}\r\n\r\n${value}\r\n`
  })
  return `${pieces.join('')}--${boundary}--\r\n`
}

/** As an object, nested, as a list, or as one scalar. */
function json({ body, style }: Parts): unknown {
  const shapes: readonly (() => unknown)[] = [
    () => Object.fromEntries(body),
    () => ({ outer: { inner: Object.fromEntries(body), list: body.map(([, value]) => value) } }),
    () => body.map(([name, value]) => ({ [name]: [value, 1, true, null] })),
    () => body[0]?.[1] ?? '',
  ]
  return (shapes[style % shapes.length] ?? (() => null))()
}

function xml({ body, style }: Parts): string {
  const safe = (text: string): string =>
    text
      .replaceAll(/[^\t\n\x20-\x7e]/g, '.')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('"', '&quot;')
  const elements = body.map(([name, value], index) => {
    const tag = `e${name.replaceAll(/[^0-9A-Za-z_-]/g, '')}`
    if ((style + index) % 3 === 0) return `<${tag} a="${safe(value)}"/>`
    if ((style + index) % 3 === 1 && !value.includes(']]>'))
      return `<${tag}><![CDATA[${value.replaceAll(/[^\t\n\x20-\x7e]/g, '.')}]]></${tag}>`
    return `<${tag}>${safe(value)}</${tag}>`
  })
  return `<?xml version="1.0"?><root>${elements.join('')}</root>`
}

const types: Readonly<Record<BodyKind, readonly string[]>> = {
  form: ['application/x-www-form-urlencoded', 'application/x-www-form-urlencoded; charset=utf-8'],
  multipart: [`multipart/form-data; boundary=${boundary}`],
  json: ['application/json', 'application/json; charset=utf-8'],
  xml: ['application/xml', 'text/xml; charset=utf-8'],
  text: ['text/plain', 'application/octet-stream', 'text/plain; charset=iso-8859-1'],
}

/** One of the Content-Types of a kind. */
export function contentTypeOf(kind: BodyKind, draw: Draw): string {
  return draw.pick(types[kind])
}
