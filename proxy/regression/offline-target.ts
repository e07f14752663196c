/** An engine without a server as the target of cases: requests do all but travel. */
import type { OfflineEngine, OfflineResponse, RawInspected } from '../../waf/offline/engine.ts'
import type { LineSink } from '../../waf/log-file.ts'
import type { Verdict } from '../../waf/verdict.ts'
import { type ErrorCode, errorCodes, errors } from '../errors.ts'
import { type ContentPolicy, refusesDoubts } from '../policy.ts'
import { answerOf } from './albedo.ts'
import type { CaseRequest } from './cases.ts'
import type { Target } from './run.ts'
import { asFields, complete, onTheWire } from './wire-request.ts'

/** The versions that a case may be told to travel by. */
export type HttpVersion = '1.1' | '2' | '3'

/** Keeps the WAF's lines of one request. */
export class LineBuffer implements LineSink {
  #lines: string[] = []

  write(lines: readonly string[]): void {
    this.#lines.push(...lines)
  }

  /** What was written since the last call. */
  take(): string {
    const text = this.#lines.join('\n')
    this.#lines = []
    return text
  }
}

/** What the target needs beside the engine. */
export interface OfflineTargetOptions {
  readonly version: HttpVersion
  /** The engine's log. */
  readonly lines: LineBuffer
  readonly refuse: ContentPolicy['refuse']
}

/** The target; it answers as the CRS's test backend behind the proxy would. */
export function offlineTarget(engine: OfflineEngine, options: OfflineTargetOptions): Target {
  const { version, lines } = options
  return {
    close: () => engine.close(),
    async send(request) {
      lines.take()
      const status =
        version === '1.1'
          ? sendRaw(request, engine, options.refuse)
          : sendFields(request, engine, options)
      if (typeof status === 'string') return status
      const log = lines.take()
      return { status, log: () => log }
    },
  }
}

const from = { peer: '127.0.0.1', peerPort: 40_000, localPort: 80 }

function sendRaw(
  request: CaseRequest,
  engine: OfflineEngine,
  refuse: ContentPolicy['refuse'],
): number {
  const bytes = request.raw ?? onTheWire(complete(request))
  let response: OfflineResponse | null = null
  const seen = engine.inspectRaw(bytes, from, ({ target, doubts, content }) => {
    response = refusesDoubts(doubts, refuse) ? null : answerOf(target, content)
    return response
  })
  return statusOfRaw(seen, response)
}

function statusOfRaw(seen: RawInspected, response: OfflineResponse | null): number {
  if (seen.kind === 'refused') return statusOfCode(seen.refusal.code)
  if (seen.inspected.verdict.action === 'needs-body') {
    return statusOfCode(seen.bodyRefusal?.code ?? 'REQUEST_BODY_TIMEOUT')
  }
  return statusOf(seen.inspected.verdict, response?.status ?? errors.CONTENT_REFUSED.status)
}

function sendFields(
  request: CaseRequest,
  engine: OfflineEngine,
  { version, refuse }: OfflineTargetOptions,
): number | string {
  const asked = asFields(request)
  if (typeof asked === 'string') return asked
  const { method, path, authority, body } = asked
  const pseudo: [string, string][] = [
    [':method', method],
    [':scheme', 'https'],
    [':path', path],
    [':authority', authority],
  ]
  const fields = [...pseudo, ...asked.headers]
  let response: OfflineResponse | null = null
  const seen = engine.inspectFields({ http3: version === '3', fields, body }, from, (whole) => {
    response = refusesDoubts(whole.doubts, refuse) ? null : answerOf(whole.target, whole.content)
    return response
  })
  return statusOfRaw(seen, response)
}

function statusOf(verdict: Verdict, passed: number): number {
  if ('status' in verdict) return verdict.status
  return verdict.action === 'failed' ? errors.WAF_BUDGET_EXCEEDED.status : passed
}

function statusOfCode(code: string): number {
  const known = errorCodes.find((name): name is ErrorCode => name === code)
  return known === undefined ? errors.INTERNAL.status : errors[known].status
}
