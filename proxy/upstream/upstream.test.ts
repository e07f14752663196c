import { expect, test } from 'vitest'
import { Balancer } from './balancer.ts'
import { numberEndpoints, resolveEndpoints } from './resolve.ts'

test("endpoints take turns, from the worker's own offset", () => {
  const upstreams = [
    { name: 'a', endpoints: [0, 1, 2] },
    { name: 'b', endpoints: [3] },
    { name: 'none', endpoints: [] },
  ]
  const balancer = new Balancer(upstreams, 1)
  expect([1, 2, 3, 4].map(() => balancer.choose('a'))).toEqual([1, 2, 0, 1])
  expect([1, 2].map(() => balancer.choose('b'))).toEqual([3, 3])
  expect(balancer.choose('none')).toBeNull()
  expect(() => balancer.choose('other')).toThrow('no upstream other')
})

test('numbers and addresses follow the order of the configuration', async () => {
  const upstreams = [
    { name: 'a', endpoints: [{ url: 'http://127.0.0.1:9000' }, { url: 'http://[::1]' }] },
    { name: 'b', endpoints: [{ url: 'http://192.0.2.1:81' }] },
  ]
  expect(numberEndpoints(upstreams)).toEqual([
    { name: 'a', endpoints: [0, 1] },
    { name: 'b', endpoints: [2] },
  ])
  expect(await resolveEndpoints(upstreams)).toEqual([
    { id: 0, addresses: ['127.0.0.1:9000'], protocol: 'http1', tls: null },
    { id: 1, addresses: ['[::1]:80'], protocol: 'http1', tls: null },
    { id: 2, addresses: ['192.0.2.1:81'], protocol: 'http1', tls: null },
  ])
})
