/** HTTP Archive 1.2, as browsers save it: one JSON document of all exchanges. */
import { z } from 'zod'
import type { OfflineRequest } from '../../waf/offline/engine.ts'
import { type ReplayLine, completed, latin1Of, protocolOf } from './entry.ts'

const field = z.looseObject({ name: z.string(), value: z.string() })

const request = z.looseObject({
  method: z.string(),
  url: z.string(),
  httpVersion: z.string().optional(),
  headers: z.array(field).optional(),
  postData: z
    .looseObject({
      mimeType: z.string().optional(),
      text: z.string().optional(),
      encoding: z.string().optional(),
      params: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).nullish(),
    })
    .nullish(),
})

/** Judged one by one: a broken entry must not hide the others. */
const rawEntry = z.looseObject({
  request: z.unknown().optional(),
  startedDateTime: z.unknown().optional(),
})

const archive = z.looseObject({
  log: z.looseObject({
    entries: z.array(rawEntry),
  }),
})

/** Every entry of an archive; null when the document is none. */
export function readHar(document: unknown): ReplayLine[] | null {
  const read = archive.safeParse(document)
  if (!read.success) return null
  return read.data.log.entries.map((entry, index) => entryOf(entry, index + 1))
}

function entryOf(entry: z.output<typeof rawEntry>, line: number): ReplayLine {
  const read = request.safeParse(entry.request)
  if (!read.success) return { line, reason: 'the entry has no request with method and url' }
  const { method, url, headers = [], httpVersion = '' } = read.data
  const address = URL.parse(url)
  if (address === null) return { line, reason: 'the url of the entry is none' }
  // Blobs, data and extensions never left the browser.
  if (!/^(?:https?|wss?):$/.test(address.protocol)) return null
  const known = headers
    .filter(({ name }) => !name.startsWith(':'))
    .map(({ name, value }): [string, string] => [latin1Of(name), latin1Of(value)])
  const authority = headers.find(({ name }) => name === ':authority')?.value ?? address.host
  const isNamed = known.some(([name]) => name.toLowerCase() === 'host')
  const body = bodyOf(read.data.postData ?? null)
  const timeMs = Date.parse(String(entry.startedDateTime))
  const replayed: OfflineRequest = {
    method,
    // As written: the URL parser would already mend it.
    target: latin1Of(/^[a-z]+:\/\/[^/?#]*([^#]*)/i.exec(url)?.[1] || '/'),
    protocol: protocolOf(httpVersion),
    headers: completed(method, isNamed ? known : [['Host', latin1Of(authority)], ...known]),
    body,
    ...(Number.isNaN(timeMs) ? {} : { timeMs }),
  }
  return { line, request: replayed }
}

type PostData = NonNullable<z.output<typeof request>['postData']>

function bodyOf(post: PostData | null): Uint8Array | null {
  if (post === null) return null
  if (post.text !== undefined && post.text !== '') {
    return Buffer.from(post.text, post.encoding === 'base64' ? 'base64' : 'utf8')
  }
  const isForm = post.mimeType?.startsWith('application/x-www-form-urlencoded') === true
  if (!isForm || (post.params ?? []).length === 0) return null
  const pairs = (post.params ?? []).map(({ name, value = '' }): [string, string] => [name, value])
  return Buffer.from(new URLSearchParams(pairs).toString())
}
