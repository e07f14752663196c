import { expect, test } from 'vitest'
import { bareHost, hostPortOf, hostPortText } from './host-port.ts'

const cases = [
  ['127.0.0.1:80', '127.0.0.1', 80],
  ['[2001:db8::1]:8443', '2001:db8::1', 8443],
  ['waf.example:0', 'waf.example', 0],
  [':9000', '', 9000],
] as const
for (const [text, host, port] of cases) {
  test(`${text} is the port ${port} of "${host}", and back`, () => {
    expect(hostPortOf(text)).toEqual({ host, port })
    expect(hostPortText({ host, port })).toBe(text)
    expect(bareHost(bareHost(host))).toBe(host)
  })
}
