/** Runs one case of the h1 corpus through the edge and judges what came of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Case, Expected } from './case.ts'
import { RawClient, type Target } from './raw-client.ts'
import type { Recorder } from './recorder.ts'
import { all, type Understood } from './strict-parser.ts'

/** How the bytes are cut into writes. */
export type Pieces = 'whole' | 'halves' | 'crumbs'

const count: Readonly<Record<Pieces, number>> = { whole: 1, halves: 2, crumbs: 24 }

/** What went wrong; empty when all is as the case says. */
export async function runCase(
  made: Case,
  options: {
    readonly edge: Target
    readonly recorder: Recorder
    readonly pieces?: Pieces
    /** Longest wait for an answer or a close. */
    readonly patienceMs?: number
  },
): Promise<string[]> {
  const { edge, recorder, pieces = 'whole', patienceMs = 5000 } = options
  recorder.take()
  const wrong: string[] = []
  const client = new RawClient(edge, patienceMs)
  try {
    const sent = sendIn(client, made.bytes, pieces)
    for (const [index, status] of made.statuses.entries()) {
      const method = made.requests[index]?.line.split(' ')[0] ?? 'GET'
      const answer = await client.answer(method)
      if (typeof answer === 'string') wrong.push(`answer ${index + 1}: ${answer}`)
      else if (answer.status !== status)
        wrong.push(`answer ${index + 1}: ${answer.status} and not ${status}`)
      if (wrong.length > 0) break
    }
    await sent
    if (wrong.length === 0) wrong.push(...(await afterwards(client, made)))
  } finally {
    client.destroy()
  }
  const { requests, faults, bytes } = recorder.take()
  wrong.push(...faults.map((fault) => `backend: ${fault}`))
  const seen = requests.filter((request) => request.target !== '/probe')
  if (seen.length !== made.requests.length)
    wrong.push(`backend understood ${seen.map(text).join(', ') || 'nothing'}`)
  else made.requests.forEach((expected, index) => wrong.push(...compare(seen[index], expected)))
  if (made.requests.length === 0 && made.closed && !made.partial && bytes > 0)
    wrong.push(`${bytes} bytes reached the backend`)
  return wrong
}

async function sendIn(client: RawClient, bytes: string, pieces: Pieces): Promise<void> {
  const step = Math.max(1, Math.ceil(bytes.length / count[pieces]))
  for (let at = 0; at < bytes.length; at += step) {
    client.send(bytes.slice(at, at + step))
    if (pieces !== 'whole') await sleep(0)
  }
}

/** The connection is closed, or serves a further request: one answer for one request. */
async function afterwards(client: RawClient, { closed }: Case): Promise<string[]> {
  if (closed) {
    if (!(await client.closes())) return ['the connection was not closed']
    return client.rest === '' ? [] : [`one more answer: ${client.rest.slice(0, 200)}`]
  }
  client.send('GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n')
  const answer = await client.answer('GET')
  if (typeof answer === 'string') return [`probe: ${answer}`]
  if (answer.status !== 200) return [`probe: ${answer.status}`]
  return client.rest === '' ? [] : [`one more answer: ${client.rest.slice(0, 200)}`]
}

function compare(seen: Understood | undefined, expected: Expected): string[] {
  if (!seen) return []
  const wrong: string[] = []
  const line = `${seen.method} ${seen.target}`
  if (line !== expected.line) wrong.push(`backend saw ${line} and not ${expected.line}`)
  if (seen.body !== (expected.body ?? '')) wrong.push(`backend saw the body ${seen.body}`)
  const host = all(seen.fields, 'host')[0]
  if (host !== (expected.host ?? 'a')) wrong.push(`backend saw the host ${host}`)
  for (const name of expected.without ?? [])
    if (all(seen.fields, name).length > 0) wrong.push(`backend saw the field ${name}`)
  return wrong
}

function text(request: Understood): string {
  return `${request.method} ${request.target} ${JSON.stringify(request.body)}`
}
