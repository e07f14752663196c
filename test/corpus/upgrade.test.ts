/** What a client sends behind a request to upgrade, before anybody agreed to anything. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { head, smuggled } from './case.ts'
import { RawClient } from './raw-client.ts'
import { Recorder } from './recorder.ts'

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

function opening(target: string): string {
  return head(
    `GET ${target} HTTP/1.1`,
    'Host: a',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  )
}

/** No HTTP: they wait for the tunnel. */
const early = '\x81\x05hello\0'

test('bytes behind an opening wait for the 101, and are no request after it', async () => {
  client.send(opening('/ws') + early)
  const answer = await client.answer('GET')
  expect(answer).toMatchObject({ status: 101 })
  expect(await client.receives(early)).toBe(true)
  const { requests, faults } = recorder.take()
  expect(requests.map(({ target }) => target)).toEqual(['/ws'])
  expect(faults).toEqual([])
})

test.each(['', early, smuggled])(
  'an opening that is not taken is the last request',
  async (more) => {
    client.send(opening('/g') + more)
    expect(await client.answer('GET')).toMatchObject({ status: 200, body: 'ok' })
    expect(await client.closes()).toBe(true)
    expect(client.rest).toBe('')
    const { requests, faults } = recorder.take()
    expect(requests.map(({ target }) => target)).toEqual(['/g'])
    expect(faults).toEqual([])
  },
)

test('nothing of an upgrade that is not offered opens a tunnel', async () => {
  const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']
  client.send(head('GET /ws HTTP/1.1', 'Host: a', ...h2c) + smuggled)
  // The backend switches although nobody asked it to: that is no answer.
  expect(await client.answer('GET')).toMatchObject({ status: 502 })
  const { requests } = recorder.take()
  expect(requests[0]?.fields.some(([name]) => /upgrade/i.test(name))).toBe(false)
})
