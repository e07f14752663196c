import { expect, test } from 'vitest'
import type { Target } from '../scan-plan.ts'
import { parseTargets } from './targets.ts'

/** `!` and `&` as written, then variable, `:name` or `~pattern`. */
function show(target: Target): string {
  const prefix = target.exclude ? '!' : target.count ? '&' : ''
  const name = target.name === null ? '' : `:${target.name}`
  const pattern = target.namePattern === null ? '' : `~${target.namePattern}`
  return `${prefix}${target.variable}${name}${pattern}`
}

const cases = [
  ['ARGS', ['ARGS']],
  ['args|Request_Headers:Host', ['ARGS', 'REQUEST_HEADERS:Host']],
  ['ARGS|!ARGS:foo|&TX', ['ARGS', '!ARGS:foo', '&TX']],
  ['ARGS_NAMES|XML:/*|XML://@*', ['ARGS_NAMES', 'XML:/*', 'XML://@*']],
  ['!REQUEST_COOKIES:/__utm/|ARGS', ['!REQUEST_COOKIES~__utm', 'ARGS']],
  ['ARGS:/a|b/|TX', ['ARGS~a|b', 'TX']],
  ['ARGS:/a\\/b/', ['ARGS~a\\/b']],
  ['ARGS:/[/]x/', ['ARGS~[/]x']],
  ["TX:'/a,b|c/'|ARGS", ['TX~a,b|c', 'ARGS']],
  ["ARGS:'a b'", ['ARGS:a b']],
  ['!ARGS:a,!ARGS:b', ['!ARGS:a', '!ARGS:b']],
  ['ARGS:body[0][value]', ['ARGS:body[0][value]']],
  ['ARGS:/open', ['ARGS:/open']],
  ['TX:1', ['TX:1']],
] as const

for (const [text, expected] of cases)
  test(`${text} names ${expected.join(' ')}`, () =>
    expect(parseTargets(text, expect.unreachable).map(show)).toEqual(expected))

const faulty = [
  ['', /no variable/],
  ['FOO', /unknown variable "FOO"/],
  ['ARGS|', null],
  ['ARGS||TX', /unknown variable an empty name/],
  ['REQUEST_URI:foo', /has no members/],
  ['ARGS:', /name after the colon/],
  ['ARGS:/(/', /bad pattern/],
  ['!&ARGS', /unknown variable "!&ARGS"/],
] as const

for (const [text, expected] of faulty)
  test(`"${text}" ${expected === null ? 'is accepted' : 'is a fault'}`, () => {
    const faults: string[] = []
    parseTargets(text, (message) => faults.push(message))
    expect(faults.length).toBe(expected === null ? 0 : 1)
    if (expected !== null) expect(faults[0]).toMatch(expected)
  })
