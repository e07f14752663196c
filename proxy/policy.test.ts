import { expect, test } from 'vitest'
import { inspectsBody, isGrpc, isTooEarly, refusal } from './policy.ts'
import { type RequestOptions, request } from './request.fixture.ts'
import { doubtBits, flagBits } from './request.ts'

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
  ['application/grpc+json', true, false],
] as const

for (const [type, inspectOtherBodies, expected] of bodies) {
  test(`a body of "${type}" is ${expected ? 'held' : 'streamed'}, ${inspectOtherBodies}`, () => {
    const headers = type === '' ? [] : ([['content-type', type]] as const)
    expect(
      inspectsBody(request({ flags: 1, headers }), { stream: false, inspectOtherBodies }),
    ).toBe(expected)
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
  expect(inspectsBody(request(options), { stream: false, inspectOtherBodies: false })).toBe(true)
})

test('without a body there is nothing to wait for', () => {
  const headers = [['content-type', 'application/json']] as const
  expect(inspectsBody(request({ headers }), { stream: false, inspectOtherBodies: true })).toBe(
    false,
  )
})

test('a route that streams and a WebSocket hold no body', () => {
  const headers = [['content-type', 'application/json']] as const
  const policy = { stream: false, inspectOtherBodies: true }
  expect(inspectsBody(request({ flags: 1, headers }), { ...policy, stream: true })).toBe(false)
  expect(inspectsBody(request({ flags: 1 | flagBits.websocket, headers }), policy)).toBe(false)
})

// RFC 8470: what may be a replay is served only when that changes nothing.
const earlyCases = [
  ['GET', flagBits.early, false],
  ['HEAD', flagBits.early, false],
  ['OPTIONS', flagBits.early, false],
  ['GET', flagBits.early | flagBits.query, true],
  ['GET', flagBits.early | flagBits.hasBody, true],
  ['POST', flagBits.early, true],
  ['TRACE', flagBits.early, true],
  ['POST', flagBits.query, false],
] as const

for (const [method, flags, expected] of earlyCases) {
  test(`${method} with flags ${flags} is ${expected ? '' : 'not '}too early`, () =>
    expect(isTooEarly(request({ method, flags }))).toBe(expected))
}

test('gRPC is known by its type', () => {
  expect(isGrpc(request({ headers: [['content-type', 'application/grpc+proto']] }))).toBe(true)
  expect(isGrpc(request())).toBe(false)
})
