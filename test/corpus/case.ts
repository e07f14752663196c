/** One case of the h1 corpus: raw bytes, and what must come of them. */

/** A request that the backend must have understood. */
export interface Expected {
  /** `METHOD target`, exactly. */
  readonly line: string
  readonly body?: string
  readonly host?: string
  /** Lower-case names that must not have arrived. */
  readonly without?: readonly string[]
}

/** See `refused`, `doubted`, `forwarded` and `cut` for the four ways to make one. */
export interface Case {
  readonly id: string
  /** Latin1. */
  readonly bytes: string
  /** What the backend understood, in order. */
  readonly requests: readonly Expected[]
  /** The final answers, in order. */
  readonly statuses: readonly number[]
  /** Whether the edge closes the connection afterwards. */
  readonly closed: boolean
  /** The backend may have seen a beginning of the request, but never its end. */
  readonly partial?: boolean
  /** The decision, where something odd is let through on purpose. */
  readonly why?: string
}

/** What follows on the same connection and must never come out of it after a refusal. */
export const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n'

/** A head of one line and fields, each with CR LF. */
export function head(line: string, ...fields: string[]): string {
  return [line, ...fields, '', ''].join('\r\n')
}

/** A POST to `/p` with these fields beside Host, and this body. */
export function post(fields: readonly string[], body = ''): string {
  return head('POST /p HTTP/1.1', 'Host: a', ...fields) + body
}

/** A GET of `/g` with these fields beside Host. */
export function get(...fields: string[]): string {
  return head('GET /g HTTP/1.1', 'Host: a', ...fields)
}

/** Framing doubt: one answer, nothing of it at the backend, and the connection ends. */
export function refused(id: string, bytes: string, status = 400): Case {
  const all = bytes + smuggled
  return { id, bytes: all, requests: [], statuses: [status], closed: true }
}

/** Content doubt: refused by the policy, and the next request is served. */
export function doubted(id: string, bytes: string, status = 400): Case {
  return { id, bytes, requests: [], statuses: [status], closed: false }
}

/** Taken: the backend sees this one request. `why` where that needs a reason. */
export function forwarded(id: string, bytes: string, expected: Expected, why?: string): Case {
  const reason = why === undefined ? {} : { why }
  return { id, bytes, requests: [expected], statuses: [200], closed: false, ...reason }
}

/** The body turns out broken after its head went on: cut off, and no end reaches the backend. */
export function cut(id: string, bytes: string, status = 400): Case {
  const all = bytes + smuggled
  return { id, bytes: all, requests: [], statuses: [status], closed: true, partial: true }
}

/** The same, but the edge ends the connection after the answer. */
export function closing(made: Case): Case {
  return { ...made, closed: true }
}
