import { expect, test } from 'vitest'
import { Router, hostOf } from './router.ts'

const router = new Router([
  { name: 'any', hosts: [''], path: '/' },
  { name: 'any-api', hosts: [''], path: '/api/' },
  { name: 'exact', hosts: ['www.example.org', 'Other.example.org'], path: '/' },
  { name: 'exact-deep', hosts: ['www.example.org'], path: '/api/v1' },
  { name: 'wildcard', hosts: ['*.example.org'], path: '/' },
  { name: 'long-wildcard', hosts: ['*.eu.example.org'], path: '/' },
  { name: 'path-only', hosts: ['narrow.example.net'], path: '/only' },
])

const cases = [
  ['www.example.org', '/', 'exact'],
  ['www.example.org:8443', '/', 'exact'],
  ['www.example.org', '/api/v1', 'exact-deep'],
  ['www.example.org', '/api/v1/x', 'exact-deep'],
  ['www.example.org', '/api/v10', 'exact'],
  ['other.example.org', '/', 'exact'],
  ['a.example.org', '/', 'wildcard'],
  ['a.b.example.org', '/', 'wildcard'],
  ['a.eu.example.org', '/', 'long-wildcard'],
  ['example.org', '/', 'any'],
  ['evilexample.org', '/', 'any'],
  ['', '/', 'any'],
  ['', '/api', 'any-api'],
  ['', '/api/', 'any-api'],
  ['', '/apiary', 'any'],
  ['narrow.example.net', '/only/x', 'path-only'],
  ['narrow.example.net', '/else', 'any'],
  ['[2001:db8::1]:443', '/', 'any'],
  ['', '*', 'any'],
] as const

for (const [authority, path, expected] of cases) {
  test(`"${authority}" ${path} goes to ${expected}`, () =>
    expect(router.match({ authority, path })?.name).toBe(expected))
}

test('nothing serves a host that no route names', () => {
  const narrow = new Router([{ hosts: ['a.example'], path: '/x' }])
  expect(narrow.match({ authority: 'b.example', path: '/x' })).toBeNull()
  expect(narrow.match({ authority: 'a.example', path: '/' })).toBeNull()
})

for (const [authority, host] of [
  ['a.example', 'a.example'],
  ['a.example:80', 'a.example'],
  ['[::1]:80', '[::1]'],
  ['[::1]', '[::1]'],
] as const) {
  test(`the host of ${authority} is ${host}`, () => expect(hostOf(authority)).toBe(host))
}
