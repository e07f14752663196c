/** One call of the WAF service: its JSON into a request, the engine's verdict into its answer. */
import { z } from 'zod'
import type { Inspected, OfflineEngine, OfflineRequest } from '../../waf/offline/engine.ts'
import { severities } from '../../waf/seclang/phases.ts'

const port = z.number().int().min(0).max(65_535)

const call = z.looseObject({
  method: z.string().min(1),
  uri: z.string().min(1),
  protocol: z.enum(['HTTP/1.0', 'HTTP/1.1', 'HTTP/2', 'HTTP/2.0', 'HTTP/3', 'HTTP/3.0']).optional(),
  headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])).nullish(),
  body: z.string().nullish(),
  body_base64: z.base64().nullish(),
  remote_addr: z.string().nullish(),
  remote_port: port.nullish(),
  server_addr: z.string().nullish(),
  server_port: port.nullish(),
})

/** What a call is answered with; always with `allowed` and `message`. */
export interface Evaluation {
  readonly status: 200 | 403 | 400 | 500
  readonly answer: {
    readonly allowed: boolean
    readonly message: string
    readonly status_code?: number
    readonly rule_id?: number
    readonly severity?: string
    /** Every rule that matched and logs. */
    readonly rules?: readonly number[]
    /** Where a rule wants the client to go instead. */
    readonly location?: string
  }
}

/** Judges one request. Phases 1 and 2 always run, whether there is a body or not. */
export function evaluate(body: unknown, engine: OfflineEngine): Evaluation {
  const read = call.safeParse(body)
  if (!read.success) return refused(faultOf(read.error))
  if ((read.data.body ?? null) !== null && (read.data.body_base64 ?? null) !== null) {
    return refused('give body or body_base64, not both')
  }
  return evaluationOf(engine.inspect(requestOf(read.data)))
}

/** A call that says nothing that could be judged. */
export function refused(message: string): Evaluation {
  return { status: 400, answer: { allowed: false, message } }
}

function faultOf({ issues: [issue] }: z.ZodError): string {
  const place = issue?.path.map(String).join('.') ?? ''
  return place === '' ? 'the body is no JSON object' : `${place}: ${issue?.message ?? 'is wrong'}`
}

function requestOf(given: z.output<typeof call>): OfflineRequest {
  const { body_base64: encoded, body, remote_addr: peer, server_addr: local } = given
  const bytes =
    encoded === null || encoded === undefined
      ? Buffer.from(body ?? '', 'utf8')
      : Buffer.from(encoded, 'base64')
  const headers = Object.entries(given.headers ?? {}).flatMap(([name, values]) =>
    [values].flat().map((value): [string, string] => [bytesOf(name), bytesOf(value)]),
  )
  return {
    method: bytesOf(given.method),
    target: bytesOf(given.uri),
    protocol: (given.protocol ?? 'HTTP/1.1').replace(/^(HTTP\/[23])$/, '$1.0'),
    headers,
    body: bytes.length > 0 ? bytes : null,
    peer: peer ?? '',
    peerPort: given.remote_port ?? 0,
    local: local ?? '',
    localPort: given.server_port ?? 0,
  }
}

/** A character for each byte, as the engine wants it. */
function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function evaluationOf({ verdict, matched }: Inspected): Evaluation {
  if (verdict.action === 'pass' || verdict.action === 'needs-body') {
    return { status: 200, answer: { allowed: true, message: 'Request allowed' } }
  }
  if (verdict.action === 'failed') {
    const message = 'The request could not be inspected in time'
    return { status: 500, answer: { allowed: false, message } }
  }
  const stopping = matched.find(({ rule }) => rule.id === verdict.ruleId)
  const severity = severities[stopping?.rule.severity ?? -1]
  return {
    status: 403,
    answer: {
      allowed: false,
      status_code: verdict.status,
      message: stopping?.message || 'Request blocked',
      rule_id: verdict.ruleId,
      ...(severity === undefined ? {} : { severity }),
      rules: matched.map(({ rule }) => rule.id),
      ...(verdict.action === 'redirect' ? { location: verdict.location } : {}),
    },
  }
}
