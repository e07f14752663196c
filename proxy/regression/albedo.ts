/**
 * What the backend of the CRS's cases answers: `POST /reflect` asks in JSON for a status, headers
 * and a body, anything else gets a short text.
 */
import { z } from 'zod'

/** A response as plain values. */
export interface BackendResponse {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array
}

const reflection = z.looseObject({
  status: z.number().int().min(100).max(599).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  body: z.string().optional(),
  encodedBody: z.string().optional(),
})

/** The response to a request for `target` with this body. */
export function answerOf(target: string, body: Uint8Array): BackendResponse {
  if (!/^\/reflect(?:[?/]|$)/.test(target)) return respond(200, {}, 'backend says hello\n')
  const text = Buffer.from(body).toString('utf8')
  const asked = reflection.safeParse(jsonOf(text))
  if (!asked.success) return respond(400, {}, 'not a reflection')
  const { status = 200, headers = {}, encodedBody } = asked.data
  const content = encodedBody === undefined ? (asked.data.body ?? '') : fromBase64(encodedBody)
  return respond(status, headers, content)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
}

function respond(
  status: number,
  headers: Readonly<Record<string, string>>,
  content: string | Uint8Array,
): BackendResponse {
  const body = Buffer.from(content)
  const fields = Object.entries(headers)
  // Go's server, which the cases were written against, sniffs a type where none is given.
  if (!fields.some(([name]) => name.toLowerCase() === 'content-type')) {
    fields.unshift(['Content-Type', 'text/plain; charset=utf-8'])
  }
  return { status, headers: [...fields, ['Content-Length', String(body.length)]], body }
}
