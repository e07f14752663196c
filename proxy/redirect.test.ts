import { expect, test } from 'vitest'
import { redirect } from './redirect.ts'
import { request } from './request.fixture.ts'

const cases = [
  ['example.org', '/', 443, 'https://example.org/'],
  ['example.org:8080', '/a?b=%2F', 8443, 'https://example.org:8443/a?b=%2F'],
  ['example.org', '/%2e%2e/a//b', 443, 'https://example.org/%2e%2e/a//b'],
  ['[2001:db8::1]:80', '/', 443, 'https://[2001:db8::1]/'],
  ['example.org', 'http://other.example/x?y', 443, 'https://example.org/x?y'],
  ['example.org', 'http://other.example', 443, 'https://example.org/'],
  ['example.org', 'http://other.example?y', 443, 'https://example.org/?y'],
  ['example.org', '*', 443, 'https://example.org/'],
  ['example.org', '//evil.example/', 443, 'https://example.org//evil.example/'],
  ['example.org', '/ä\x01', 443, 'https://example.org/%E4%01'],
] as const

for (const [authority, target, httpsPort, location] of cases) {
  test(`${authority} ${target} on ${httpsPort} goes to ${location}`, () =>
    expect(redirect(request({ authority, target }), { enabled: true, httpsPort })).toEqual({
      kind: 'respond',
      status: 308,
      headers: [['location', location]],
      body: '',
      close: false,
    }))
}

test('TLS is not redirected, nor is anything when redirects are off', () => {
  expect(redirect(request({ flags: 2 }), { enabled: true, httpsPort: 443 })).toBeNull()
  expect(redirect(request(), { enabled: false, httpsPort: 443 })).toBeNull()
})

test('without a host, or with an odd one, there is nowhere to go', () => {
  const options = { enabled: true, httpsPort: 443 }
  expect(redirect(request({ authority: '' }), options)).toBe('no-host')
  expect(redirect(request({ authority: 'a"b', flags: 8_192 }), options)).toBe('no-host')
})
