import { expect, test } from 'vitest'
import { errorCodes } from './errors.ts'
import { resolve, schema } from './config/schema.ts'
import { routesOf, unroutedInspection } from './route.ts'
import { listenersOf, wireConfigOf } from './wire-settings.ts'

function configOf(file: unknown) {
  return resolve(schema.parse(file), { processors: 2, testHooks: false })
}

test('listeners come in the order that records count them, h3 announced on TLS only', () => {
  const listen = { http: '127.0.0.1:8080', https: '127.0.0.1:8443' }
  expect(listenersOf(configOf({ listen }))).toEqual([
    { name: 'http', kind: 'http', address: '127.0.0.1:8080', altSvc: '' },
    { name: 'https', kind: 'https', address: '127.0.0.1:8443', altSvc: 'h3=":8443"; ma=86400' },
  ])
  const hidden = configOf({ listen: { ...listen, http: null, advertiseHttpsPort: 443 } })
  expect(listenersOf(hidden).map(({ altSvc }) => altSvc)).toEqual(['h3=":443"; ma=86400'])
})

test('the wire has a plain answer for every error, without a request id', () => {
  const { errors, healthPath, threads } = wireConfigOf(configOf({}))
  expect([errors.length, healthPath, threads]).toEqual([errorCodes.length, '/_gwhealthz', 2])
  const busy = errors.find(({ code }) => code === 'WAF_QUEUE_FULL')
  expect(busy).toMatchObject({ status: 503, body: 'The server is busy.\n' })
  expect(Object.fromEntries(busy?.headers ?? [])).toMatchObject({
    'content-type': 'text/plain; charset=utf-8',
    'retry-after': '1',
  })
})

test('routes get their upstream and mode; off for all is off for each', () => {
  const file = {
    upstreams: [
      { name: 'a', endpoints: [{ url: 'http://127.0.0.1:1' }] },
      { name: 'b', endpoints: [{ url: 'http://127.0.0.1:2' }] },
    ],
    routes: [
      { name: 'one', upstream: 'b', waf: { mode: 'detect' } },
      { name: 'two', upstream: 'a' },
    ],
  }
  const modes = (mode: string): string[] => {
    const config = configOf({ ...file, waf: { mode } })
    const routes = routesOf(config)
    return [...routes.map((route) => route.inspection.mode), unroutedInspection(config).mode]
  }
  expect(modes('block')).toEqual(['detect', 'block', 'block'])
  expect(modes('off')).toEqual(['off', 'off', 'off'])
  const config = configOf(file)
  const [one] = routesOf(config)
  expect(one?.upstream).toMatchObject({ name: 'b', connectTimeoutMs: 2_000 })
})

test('other edges of the node are listened to where that is set, and nowhere else', () => {
  expect(wireConfigOf(configOf({})).neighbours).toBeNull()
  const neighbours = { listen: ':8444', address: '10.0.0.5', meet: 'edge-neighbours:8444' }
  const set = wireConfigOf(configOf({ quic: { neighbours } }))
  expect(set.neighbours).toEqual({ listen: '0.0.0.0:8444', address: '10.0.0.5' })
})
