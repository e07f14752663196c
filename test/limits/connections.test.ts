/** The short form of connections.ts: slow headers cut in time, idle connections held. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { benign, hold, residentKib } from './hold-stage.ts'

let backend: Backend
let edge: RunningEdge

beforeAll(async () => {
  backend = await startBackend()
  edge = await startEdge({
    arguments: ['--backend', backend.url, '--no-redirect', '--waf', 'off'],
    environment: {
      EDGE_LIMITS_CONNECTIONS_PER_ADDRESS_MAX: '5000',
      EDGE_LIMITS_HEADER_TIMEOUT: '3s',
      EDGE_LIMITS_KEEP_ALIVE_IDLE_TIMEOUT: '600s',
    },
  })
}, 300_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
})

test('500 headers without end are answered with 408, benign requests go on', async () => {
  const traffic = benign(edge.httpPort)
  const client = await hold({ edge, kind: 'slow', count: 500 })
  const held = await client.result
  const { seen } = await traffic.stop()
  expect(held).toMatchObject({ opened: 500, closed: 500 })
  expect(Object.keys(held.answers)).toEqual(['HTTP/1.1 408 Request Timeout'])
  expect(held.longestMs).toBeLessThan(8000)
  expect(Object.keys(seen)).toEqual(['200'])
}, 120_000)

test('2,000 idle TLS connections cost little memory, benign requests go on', async () => {
  const traffic = benign(edge.httpPort)
  const before = residentKib(edge.process.pid ?? 0)
  const client = await hold({ edge, kind: 'h1', count: 2000 })
  const each = (residentKib(edge.process.pid ?? 0) - before) / 2000
  const { seen } = await traffic.stop()
  const held = await client.finish()
  expect(held).toMatchObject({ opened: 2000, closed: 0 })
  expect(Object.keys(seen)).toEqual(['200'])
  // The goal is 16 KiB, measured on 4,000 by connections.ts; a short run has less to spread over.
  expect(each).toBeLessThan(24)
}, 120_000)
