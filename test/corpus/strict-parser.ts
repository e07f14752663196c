/**
 * Reads HTTP/1.1 messages so strictly that whatever it takes has one meaning only. The recorder
 * reads with it what the edge forwards, and the corpus client what the edge answers. Texts are
 * latin1: one character is one byte.
 */

/** One message that was understood, or why nothing was. */
export type Parsed<T> =
  | { readonly kind: 'whole'; readonly message: T; readonly rest: string }
  | { readonly kind: 'more' }
  | { readonly kind: 'fault'; readonly fault: string }

/** A request as a backend understands it. */
export interface Understood {
  readonly method: string
  readonly target: string
  /** Names as received. */
  readonly fields: readonly (readonly [string, string])[]
  readonly body: string
  /** Names of the trailer fields. */
  readonly trailers: readonly string[]
}

/** A response as a client understands it. */
export interface Answer {
  readonly status: number
  readonly fields: readonly (readonly [string, string])[]
  readonly body: string
}

interface Head {
  readonly line: string
  readonly fields: readonly (readonly [string, string])[]
  readonly rest: string
}

class Fault extends Error {}
class More extends Error {}

/** The first request of `text`. */
export function parseRequest(text: string): Parsed<Understood> {
  return attempt(() => {
    const head = parseHead(text)
    const { method, target } = requestLine(head.line)
    for (const [name, value] of head.fields) checkField(name, value)
    const hosts = all(head.fields, 'host')
    if (hosts.length !== 1) throw new Fault(`${hosts.length} host fields`)
    const framing = framingOf(head.fields)
    const { body, trailers, rest } = parseBody(head.rest, framing ?? 0)
    return { message: { method, target, fields: head.fields, body, trailers }, rest }
  })
}

/** The method, target and fields of the first request, once its head is whole; null before. */
export function parseRequestHead(text: string): Omit<Understood, 'body' | 'trailers'> | null {
  const parsed = attempt(() => {
    const head = parseHead(text)
    return { message: { ...requestLine(head.line), fields: head.fields }, rest: head.rest }
  })
  return parsed.kind === 'whole' ? parsed.message : null
}

/** The first response of `text`, to a request with this method. */
export function parseAnswer(text: string, method: string): Parsed<Answer> {
  return attempt(() => {
    const head = parseHead(text)
    const match = /^HTTP\/1\.1 ([1-5]\d\d) /.exec(head.line)
    if (!match) throw new Fault(`status line ${JSON.stringify(head.line)}`)
    const status = Number(match[1])
    const { fields } = head
    const isEmpty = status < 200 || status === 204 || status === 304 || method === 'HEAD'
    if (isEmpty) return { message: { status, fields, body: '' }, rest: head.rest }
    const framing = framingOf(fields)
    if (framing === null) throw new Fault('a response without framing')
    const { body, rest } = parseBody(head.rest, framing)
    return { message: { status, fields, body }, rest }
  })
}

/** Values of all fields called `name`. */
export function all(
  fields: readonly (readonly [string, string])[],
  name: string,
): readonly string[] {
  return fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
}

function attempt<T>(parse: () => { message: T; rest: string }): Parsed<T> {
  try {
    return { kind: 'whole', ...parse() }
  } catch (error) {
    if (error instanceof More) return { kind: 'more' }
    if (error instanceof Fault) return { kind: 'fault', fault: error.message }
    throw error
  }
}

function parseHead(text: string): Head {
  const end = text.indexOf('\r\n\r\n')
  const head = end === -1 ? text : text.slice(0, end)
  if (/(^|[^\r])\n|\r(?!\n|$)/.test(head)) throw new Fault('a bare CR or LF in a head')
  if (end === -1) throw new More()
  const [line = '', ...lines] = head.split('\r\n')
  const fields = lines.map((field) => {
    // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
    const match = /^([!#-'*+\-.^-z|~A-Z0-9]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)$/.exec(field)
    if (!match) throw new Fault(`field ${JSON.stringify(field)}`)
    return [match[1] ?? '', (match[2] ?? '').trimEnd()] as const
  })
  return { line, fields, rest: text.slice(end + 4) }
}

/** The edge writes canonical targets only: anything else is a fault of the edge. */
function requestLine(line: string): { method: string; target: string } {
  const match = /^([!#-'*+\-.^-z|~A-Z0-9]+) (\S+) HTTP\/1\.1$/.exec(line)
  const [method = '', target = ''] = match?.slice(1) ?? []
  // oxlint-disable-next-line no-control-regex -- as above
  const parts = /^(\*|\/[^\x00-\x20\x7f-\xff#?\\"<>^`{|}]*)(\?[^\x00-\x20\x7f#]*)?$/.exec(target)
  if (!match || !parts) throw new Fault(`request line ${JSON.stringify(line)}`)
  const path = parts[1] ?? ''
  if (/%(?![0-9A-F]{2})|%(2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)/.test(path))
    throw new Fault(`path is not canonical: ${path}`)
  if (path.split('/').some((segment) => segment === '.' || segment === '..'))
    throw new Fault(`dot segments in ${path}`)
  return { method, target }
}

/** Fields that must not reach a backend, whoever sent them. */
function checkField(name: string, value: string): void {
  const lower = name.toLowerCase()
  if (lower.includes('_')) throw new Fault(`name with _: ${name}`)
  const dropped = ['expect', 'keep-alive', 'proxy-connection', 'http2-settings', 'trailer']
  if (dropped.includes(lower)) throw new Fault(`field that ends at the edge: ${name}`)
  const allowed: Record<string, RegExp> = {
    connection: /^(te|upgrade)$/i,
    te: /^trailers$/,
    upgrade: /^websocket$/,
  }
  const pattern = allowed[lower]
  if (pattern && !pattern.test(value)) throw new Fault(`field that ends at the edge: ${name}`)
}

function framingOf(fields: readonly (readonly [string, string])[]): number | 'chunked' | null {
  const lengths = all(fields, 'content-length')
  const codings = all(fields, 'transfer-encoding')
  if (lengths.length + codings.length > 1) throw new Fault('more than one framing field')
  if (codings.length === 1) {
    if (codings[0] !== 'chunked') throw new Fault(`transfer-encoding ${codings[0]}`)
    return 'chunked'
  }
  if (lengths.length === 0) return null
  if (!/^\d{1,15}$/.test(lengths[0] ?? '')) throw new Fault(`content-length ${lengths[0]}`)
  return Number(lengths[0])
}

function parseBody(text: string, framing: number | 'chunked') {
  if (framing !== 'chunked') {
    if (text.length < framing) throw new More()
    return { body: text.slice(0, framing), trailers: [], rest: text.slice(framing) }
  }
  let body = ''
  let rest = text
  for (;;) {
    const end = rest.indexOf('\r\n')
    if (end === -1 && rest.length < 20) throw new More()
    const size = rest.slice(0, end)
    if (!/^[0-9a-f]{1,8}$/.test(size)) throw new Fault(`chunk size ${JSON.stringify(size)}`)
    const length = Number.parseInt(size, 16)
    if (length === 0) break
    const after = end + 2 + length
    if (rest.length < after + 2) throw new More()
    if (rest.slice(after, after + 2) !== '\r\n') throw new Fault('chunk does not end in CR LF')
    body += rest.slice(end + 2, after)
    rest = rest.slice(after + 2)
  }
  // The last chunk has the form of a head whose first line is its size.
  if (rest.startsWith('0\r\n\r\n')) return { body, trailers: [], rest: rest.slice(5) }
  const { fields, rest: behind } = parseHead(rest)
  return { body, trailers: fields.map(([name]) => name), rest: behind }
}
