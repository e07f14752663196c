import { expect, test } from 'vitest'
import { Balancer } from './balancer.ts'
import { numberEndpoints, resolveEndpoints } from './resolve.ts'

const noFiles = { caFile: null, clientCertFile: null, clientKeyFile: null }
const endpointsOf = (...urls: string[]) =>
  urls.map((url) => ({ url, weight: 1, eachAddress: false }))

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
  const tls = { serverName: null, verify: true } as const
  const plain = { protocol: 'auto', tls: { ...noFiles, ...tls } } as const
  const upstreams = [
    { ...plain, name: 'a', endpoints: endpointsOf('http://127.0.0.1:9000', 'http://[::1]') },
    { ...plain, name: 'b', endpoints: endpointsOf('https://192.0.2.1') },
  ]
  const files = { trusted: 'CA', clientChain: 'C', clientKey: 'K', stickyKey: '' }
  expect(numberEndpoints(upstreams)).toEqual([
    { name: 'a', endpoints: [0, 1] },
    { name: 'b', endpoints: [2] },
  ])
  const found = { serverName: '192.0.2.1', verify: true, trusted: 'CA' }
  const withTls = { ...found, clientChain: 'C', clientKey: 'K' }
  expect(await resolveEndpoints(upstreams, [files, files])).toEqual([
    { id: 0, addresses: ['127.0.0.1:9000'], protocol: 'auto', tls: null },
    { id: 1, addresses: ['[::1]:80'], protocol: 'auto', tls: null },
    { id: 2, addresses: ['192.0.2.1:443'], protocol: 'auto', tls: withTls },
  ])
})
