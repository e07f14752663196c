/**
 * Downgrades from HTTP/2 and HTTP/3 to a backend of HTTP/1.1 that records every byte: each request
 * of test/corpus/downgrade.ts is refused, or arrives as exactly one unambiguous request.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { goClients } from '../harness/go.ts'
import { type Downgrade, downgrades } from './downgrade.ts'
import { Recorder } from './recorder.ts'

interface Answer {
  readonly status: number
  readonly body: string
  readonly error: string
}

/** The Go client that sends field sections as they are, one after the other. */
class SectionClient {
  readonly #child: ChildProcess
  readonly #answers: Interface

  constructor(protocol: string, port: number) {
    const args = ['sections', '-protocol', protocol, '-https', `127.0.0.1:${port}`]
    const child = spawn(goClients(), args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child = child
    this.#answers = createInterface({ input: child.stdout })
  }

  async send({ fields, data, trailers }: Downgrade): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify({ fields, data, trailers })}\n`)
    const [line] = (await once(this.#answers, 'line')) as [string]
    return JSON.parse(line) as Answer
  }

  close(): void {
    this.#child.kill()
  }
}

const probe: Downgrade = {
  name: 'probe',
  fields: [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', 'localhost'],
    [':path', '/probe'],
  ],
}

const recorder = new Recorder()
let edge: RunningEdge

beforeAll(async () => {
  const url = await recorder.start()
  edge = await startEdge({ arguments: ['--backend', url, '--waf', 'off'] })
}, 120_000)

afterAll(async () => {
  const code = await edge.stop()
  recorder.close()
  expect(code).toBe(0)
}, 60_000)

describe.each(['h2', 'h3'])('%s', (protocol) => {
  let client: SectionClient
  beforeAll(() => {
    client = new SectionClient(protocol, edge.httpsPort)
  })
  afterAll(() => client.close())

  test.each(downgrades)('$name', async (request) => {
    recorder.take()
    const answer = await client.send(request)
    // On whatever pooled connection it lands, the next request must get its own answer.
    expect(await client.send(probe)).toEqual({ status: 200, body: 'ok', error: '' })
    const { requests, faults } = recorder.take()
    expect(faults).toEqual([])
    const seen = requests.map(({ method, target, body }) => ({ line: `${method} ${target}`, body }))
    const next = { line: 'GET /probe', body: '' }
    if (!request.forwarded) {
      expect(seen).toEqual([next])
      if (answer.error === '') expect(answer.status).toBe(400)
      else expect(answer.error).toMatch(/reset|closed|GOAWAY/)
      return
    }
    expect(answer).toEqual({ status: 200, body: 'ok', error: '' })
    expect(seen).toEqual([request.forwarded, next])
    const names = requests[0]?.fields.map(([name]) => name.toLowerCase()) ?? []
    expect(names.filter((name) => request.without?.includes(name))).toEqual([])
  })
})

test('there are at least 16 cases for each protocol', () => {
  expect(downgrades.length).toBeGreaterThanOrEqual(16)
})
