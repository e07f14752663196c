/**
 * Bytes that come at another moment than a reader expects: answers before the end of a body (CL.0,
 * 0.CL), and bytes behind a request to upgrade. On no connection may they become a request.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { get, head, smuggled } from './case.ts'
import { RawClient } from './raw-client.ts'
import { Recorder } from './recorder.ts'
import { all } from './strict-parser.ts'

const recorder = new Recorder()
let edge: RunningEdge
let client: RawClient

beforeAll(async () => {
  const url = await recorder.start()
  edge = await startEdge({ arguments: ['--backend', url, '--waf', 'off', '--no-redirect'] })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  recorder.close()
})

beforeEach(() => {
  recorder.take()
  client = new RawClient({ port: edge.httpPort })
})

afterEach(() => client.destroy())

async function status(of: RawClient, method = 'GET'): Promise<number | string> {
  const answer = await of.answer(method)
  return typeof answer === 'string' ? answer : answer.status
}

/** Targets that the backend understood, after another client used the pooled connections. */
async function targetsAfterProbe(): Promise<readonly string[]> {
  const probe = new RawClient({ port: edge.httpPort })
  try {
    for (const _ of [1, 2]) {
      probe.send(head('GET /probe HTTP/1.1', 'Host: a'))
      const answer = await probe.answer('GET')
      // An answer that belongs to somebody else would say `early`.
      expect(answer).toMatchObject({ status: 200, body: 'ok' })
    }
  } finally {
    probe.destroy()
  }
  const { requests, faults } = recorder.take()
  expect(faults).toEqual([])
  return requests.map(({ target }) => target)
}

const later = smuggled.repeat(2)

describe('an answer before the end of the body', () => {
  test.each([
    ['content-length', `Content-Length: ${later.length}`, later],
    [
      'chunked',
      'Transfer-Encoding: chunked',
      `${later.length.toString(16)}\r\n${later}\r\n0\r\n\r\n`,
    ],
  ])('%s: the rest of the body is no request', async (_name, field, rest) => {
    client.send(head('POST /early HTTP/1.1', 'Host: a', field))
    expect(await status(client)).toBe(200)
    client.send(rest)
    // Either the connection ends, or the body is read to its end and the next request is served.
    client.send(head('GET /after HTTP/1.1', 'Host: a'))
    const next = await status(client)
    expect([200, 'closed']).toContain(next)
    const targets = await targetsAfterProbe()
    expect(targets.filter((target) => !['/early', '/after', '/probe'].includes(target))).toEqual([])
    expect(targets.includes('/after')).toBe(next === 200)
  })

  test('a connection to the backend with half a request is not used again', async () => {
    client.send(head('POST /early HTTP/1.1', 'Host: a', 'Content-Length: 500'))
    expect(await status(client)).toBe(200)
    client.destroy()
    expect(await targetsAfterProbe()).toEqual(['/probe', '/probe'])
  })

  test('a refused body does not become a request', async () => {
    client.send(head('POST /%2f HTTP/1.1', 'Host: a', `Content-Length: ${later.length}`))
    expect(await status(client)).toBe(400)
    client.send(later)
    expect(await client.closes()).toBe(true)
    expect(client.rest).toBe('')
    expect(await targetsAfterProbe()).toEqual(['/probe', '/probe'])
  })

  test('an abandoned body leaves nothing behind', async () => {
    client.send(head('POST /p HTTP/1.1', 'Host: a', 'Content-Length: 500') + smuggled)
    await sleep(50)
    client.destroy()
    expect(await targetsAfterProbe()).toEqual(['/probe', '/probe'])
  })
})

describe('100-continue', () => {
  test('the body is asked for once, and its end is where it says', async () => {
    client.send(head('PUT /p HTTP/1.1', 'Host: a', 'Expect: 100-continue', 'Content-Length: 3'))
    expect(await client.interim()).toBe(100)
    client.send(`abc${get()}`)
    expect(await status(client, 'PUT')).toBe(200)
    expect(await status(client)).toBe(200)
    expect(await targetsAfterProbe()).toEqual(['/p', '/g', '/probe', '/probe'])
  })

  test('a refusal instead of 100: what comes then is no request', async () => {
    const length = `Content-Length: ${later.length}`
    client.send(head('PUT /%2f HTTP/1.1', 'Host: a', 'Expect: 100-continue', length))
    expect(await status(client, 'PUT')).toBe(400)
    client.send(later)
    expect(await client.closes()).toBe(true)
    expect(await targetsAfterProbe()).toEqual(['/probe', '/probe'])
  })

  test('413 instead of 100', async () => {
    const fields = ['Host: a', 'Expect: 100-continue', 'Content-Length: 10485761']
    client.send(head('PUT /p HTTP/1.1', ...fields))
    expect(await status(client, 'PUT')).toBe(413)
    expect(await client.closes()).toBe(true)
    expect(await targetsAfterProbe()).toEqual(['/probe', '/probe'])
  })
})
