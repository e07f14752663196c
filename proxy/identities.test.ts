import { expect, test } from 'vitest'
import { parseConfig } from './config/parse.ts'
import { ConfigError } from './config/faults.ts'
import { Identities } from './identities.ts'

function upstreams(...named: readonly (readonly [string, readonly string[]])[]) {
  const text = JSON.stringify({
    upstreams: named.map(([name, urls]) => ({ name, endpoints: urls.map((url) => ({ url })) })),
    routes: named.map(([name]) => ({ name, upstream: name, path: `/${name}` })),
  })
  const parsed = parseConfig({
    file: { path: '/edge.yaml', name: 'edge.yaml', text },
    env: {},
    flags: [],
    folder: '/',
    processors: 1,
    installedRules: null,
  })
  if (parsed instanceof ConfigError) throw parsed
  return parsed.config.upstreams
}

const [a, b, c] = ['http://127.0.0.1:1', 'http://127.0.0.1:2', 'http://127.0.0.1:3']

test('an endpoint keeps its id wherever it moves, and nobody gets the id of one that left', () => {
  const identities = new Identities()
  expect(identities.endpoints(upstreams(['x', [a, b]], ['y', [a]]))).toEqual([0, 1, 2])
  expect(identities.endpoints(upstreams(['y', [a, c]], ['x', [b]]))).toEqual([2, 3, 1])
  expect(identities.endpoints(upstreams(['x', [c, a, a]]))).toEqual([4, 0, 5])
})

test('a renewed certificate keeps its id, since its names are the same', () => {
  const identities = new Identities()
  expect(identities.certificate(['a.example'])).toBe(0)
  expect(identities.certificate(['a.example', 'b.example'])).toBe(1)
  expect(identities.certificate(['a.example'])).toBe(0)
  expect(identities.certificateNames).toEqual([['a.example'], ['a.example', 'b.example']])
})
