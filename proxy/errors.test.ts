import { expect, test } from 'vitest'
import { ProxyError, errorCodes, errors, responseFor } from './errors.ts'

const context = { requestId: 'r-1', timeMs: 0, accept: '', grpc: false }

// The order is a contract with `ErrorCode` in native/crates/wire/src/error_code.rs.
test('the table has the codes of the wire, in its order', () =>
  expect(errorCodes.map((code) => `${code} ${errors[code].status}`)).toEqual([
    'BAD_REQUEST 400',
    'HEADER_TOO_LARGE 431',
    'HEADER_TIMEOUT 408',
    'URI_TOO_LONG 414',
    'VERSION_NOT_SUPPORTED 505',
    'REQUEST_BODY_TOO_LARGE 413',
    'REQUEST_BODY_INCOMPLETE 400',
    'REQUEST_BODY_TIMEOUT 408',
    'BODY_BUDGET_EXHAUSTED 503',
    'EXPECTATION_FAILED 417',
    'TOO_MANY_CONNECTIONS 503',
    'WAF_UNAVAILABLE 503',
    'WAF_QUEUE_FULL 503',
    'WAF_POISON 503',
    'UPSTREAM_CONNECT_FAILED 502',
    'UPSTREAM_CONNECT_TIMEOUT 504',
    'UPSTREAM_FIRST_BYTE_TIMEOUT 504',
    'UPSTREAM_IDLE_TIMEOUT 504',
    'UPSTREAM_INVALID_RESPONSE 502',
    'UPSTREAM_CLOSED 502',
    'CLIENT_ABORTED 499',
    'INTERNAL 500',
    'NO_SUCH_ENDPOINT 503',
    'UPGRADE_NOT_SUPPORTED 501',
    'CONTENT_REFUSED 400',
    'NO_ROUTE 404',
    'MISDIRECTED_REQUEST 421',
    'WAF_BUDGET_EXCEEDED 503',
    'TRAILERS_TOO_LARGE 431',
    'REQUEST_TOO_SLOW 408',
    'ADDRESS_CONNECTIONS_EXCEEDED 503',
    'HANDSHAKE_TIMEOUT 408',
    'PROTOCOL_VIOLATION 400',
    'STREAM_RESETS_EXCEEDED 429',
    'CONTROL_FRAMES_EXCEEDED 429',
    'CONNECTION_BYTES_EXCEEDED 431',
    'TOO_EARLY 425',
    'NO_HEALTHY_ENDPOINT 503',
    'UPSTREAM_TLS_FAILED 502',
    'WAF_SERVICE_UNAVAILABLE 503',
    'WAF_SERVICE_TIMEOUT 503',
    'WAF_RULES_UNKNOWN 503',
  ]))

for (const code of errorCodes) {
  test(`${code} answers with its status, a title and the request id`, () => {
    const plan = responseFor(code, context)
    expect(plan.status).toBe(errors[code].status)
    expect(plan.body).toBe(`${errors[code].title}\nRequest: r-1\n`)
    const retryAfter = plan.headers.find(([name]) => name === 'retry-after')
    expect(retryAfter !== undefined).toBe(plan.status === 503)
  })
}

test('a JSON client reads the code', () =>
  expect(
    JSON.parse(responseFor('NO_ROUTE', { ...context, accept: 'application/json' }).body),
  ).toEqual({
    type: 'about:blank',
    title: 'There is nothing here.',
    status: 404,
    code: 'NO_ROUTE',
    requestId: 'r-1',
    time: '1970-01-01T00:00:00.000Z',
  }))

test('an operating error carries its code and its cause', () => {
  const cause = new Error('refused')
  expect(new ProxyError('UPSTREAM_CONNECT_FAILED', { cause })).toMatchObject({
    code: 'UPSTREAM_CONNECT_FAILED',
    cause,
  })
})
