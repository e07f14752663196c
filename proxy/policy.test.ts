import { expect, test } from 'vitest'
import { inspectsBody, isGrpc, refusal } from './policy.ts'
import { type RequestOptions, request } from './request.fixture.ts'
import { doubtBits } from './request.ts'

const refuse = {
  encodedSlash: true,
  dotSegments: true,
  nul: true,
  backslash: true,
  underscoreName: false,
  oddHost: true,
  fragment: true,
  unknownMethod: true,
  badEscape: true,
  controlOrNonAscii: true,
}
const policy = { refuse, certificateNames: [['example.org'], ['*.example.net', 'example.net']] }

for (const [doubt, bit] of Object.entries(doubtBits)) {
  const expected = doubt === 'underscoreName' ? null : 'CONTENT_REFUSED'
  test(`${doubt} is ${expected === null ? 'let through' : 'refused'}`, () =>
    expect(refusal(request({ flags: bit }), policy)).toBe(expected))
}

test('a request without doubts goes on', () => expect(refusal(request(), policy)).toBeNull())

const hosts = [
  [0xffff_ffff, 'anything.example', null],
  [0, 'example.org', null],
  [0, 'example.org:8443', null],
  [0, 'www.example.org', 'MISDIRECTED_REQUEST'],
  [1, 'example.net', null],
  [1, 'www.example.net', null],
  [1, 'a.www.example.net', 'MISDIRECTED_REQUEST'],
  [1, 'badexample.net', 'MISDIRECTED_REQUEST'],
  [1, 'example.org', 'MISDIRECTED_REQUEST'],
  [0, '', null],
] as const

for (const [certificate, authority, expected] of hosts) {
  test(`certificate ${certificate} and Host "${authority}": ${expected ?? 'goes on'}`, () =>
    expect(refusal(request({ flags: 2, certificate, authority }), policy)).toBe(expected))
}

const bodies = [
  ['application/x-www-form-urlencoded', false, true],
  ['Application/X-WWW-Form-Urlencoded; charset=utf-8', false, true],
  ['multipart/form-data; boundary=x', false, true],
  ['application/json', false, true],
  ['application/ld+json', false, true],
  ['text/xml', false, true],
  ['application/soap+xml', false, true],
  ['application/octet-stream', false, false],
  ['application/octet-stream', true, true],
  ['', false, false],
  ['', true, true],
  ['application/grpc', true, false],
  ['application/grpc+proto', true, false],
] as const

for (const [type, inspectOtherBodies, expected] of bodies) {
  test(`a body of "${type}" is ${expected ? 'held' : 'streamed'}, ${inspectOtherBodies}`, () => {
    const headers = type === '' ? [] : ([['content-type', type]] as const)
    expect(inspectsBody(request({ flags: 1, headers }), { inspectOtherBodies })).toBe(expected)
  })
}

test('of two content types any inspected one counts', () => {
  const options: RequestOptions = {
    flags: 1,
    headers: [
      ['content-type', 'application/grpc'],
      ['content-type', 'application/json'],
    ],
  }
  expect(inspectsBody(request(options), { inspectOtherBodies: false })).toBe(true)
})

test('without a body there is nothing to wait for', () => {
  const headers = [['content-type', 'application/json']] as const
  expect(inspectsBody(request({ headers }), { inspectOtherBodies: true })).toBe(false)
})

test('gRPC is known by its type', () => {
  expect(isGrpc(request({ headers: [['content-type', 'application/grpc+proto']] }))).toBe(true)
  expect(isGrpc(request())).toBe(false)
})
