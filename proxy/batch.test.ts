import { expect, test } from 'vitest'
import { readBatch } from './batch.ts'
import { encodeBatch, headRecord, known, request } from './request.fixture.ts'

test('a head gives its facts and its fields in wire order and case', () => {
  const head = request({
    method: 'POST',
    target: '/a%20b?x=1',
    path: '/a%20b',
    query: 'x=1',
    flags: 1 | 2 | 32 | 512,
    protocol: 30,
    headers: [
      ['host', 'example.org'],
      ['X-Odd', 'ä'],
      ['Accept', 'text/html'],
      ['accept', '*/*'],
    ],
  })
  expect(head.protocol).toBe('HTTP/3')
  expect(head.facts).toMatchObject({ method: 'POST', path: '/a%20b', query: 'x=1' })
  expect([head.hasBody, head.tls, head.hasQuery, head.orphan]).toEqual([true, true, true, false])
  expect([head.doubts('dotSegments'), head.doubts('nul')]).toEqual([true, false])
  expect(head.headers().map(([name]) => name)).toEqual(['host', 'X-Odd', 'Accept', 'accept'])
  expect(head.header('x-odd')).toBe('ä')
  expect(head.headerAll('accept')).toEqual(['text/html', '*/*'])
  expect(head.header('cookie')).toBeNull()
})

test('fields stay readable when the buffer holds another batch', () => {
  const batch = encodeBatch([headRecord({ headers: [['x-a', 'first']] })])
  const [received] = readBatch(batch, batch.length, known)
  batch.fill(0)
  expect(received?.kind === 'head' && received.head.header('x-a')).toBe('first')
})

test('records of every kind follow each other', () => {
  const batch = encodeBatch([
    headRecord({ id: 7, headers: [['x-a', 'b']] }),
    [[2, 7, 1, 5_000], ''],
    [[4, 7, 200, 0, 1, 6, 2], 'serverna'],
    [[5, 7, 2], ''],
    [[3, 7, 502, 15, 3, 2, 1, 1, 4, 0, 1_500, 0, 3, 2, 16], ''],
    [[6, 0, 11, 0, 400, 40_000, 9, 5], '192.0.2.9GET /'],
  ])
  const [head, ...rest] = readBatch(batch, batch.length, known)
  expect(head).toMatchObject({ kind: 'head', id: 7 })
  expect(rest).toEqual([
    { kind: 'body', id: 7, status: 'over-max', bytes: 5_000 },
    { kind: 'response', id: 7, status: 200, headers: [['server', 'na']], body: 'unread' },
    { kind: 'response-body', id: 7, body: 'beginning' },
    {
      kind: 'outcome',
      id: 7,
      outcome: {
        status: 502,
        error: 14,
        endpoint: 2,
        attempts: 2,
        failedFirst: { endpoint: 1, error: 15 },
        requestBodyBytes: 2 ** 32 + 1,
        responseBodyBytes: 4,
        durationUs: 1_500,
        upstreamFirstByteUs: null,
        clientAborted: true,
        headSent: true,
      },
    },
    {
      kind: 'refusal',
      refusal: {
        error: 0,
        protocol: 11,
        listener: 0,
        status: 400,
        peer: '192.0.2.9',
        peerPort: 40_000,
        line: 'GET /',
      },
    },
  ])
})

test('a batch that ends early is a broken invariant', () => {
  const batch = encodeBatch([[[2, 7], '']])
  expect(() => readBatch(batch, batch.length, known)).toThrow('ends early')
  expect(() => readBatch(batch, batch.length - 4, known)).toThrow('ends early')
})

test('what a WAF service is asked and says', () => {
  const batch = encodeBatch([
    [[7, 3, 0, 2], '{}'],
    [[7, 3, 40, 0], ''],
    [[8, 2], '{}'],
    headRecord({ id: 4 }),
    [[9, 4, 406], ''],
  ])
  const [verdict, failure, question, head, end] = readBatch(batch, batch.length, known)
  expect(verdict).toEqual({ kind: 'verdict', id: 3, error: null, text: '{}' })
  expect(failure).toEqual({ kind: 'verdict', id: 3, error: 39, text: '' })
  expect(question).toEqual({ kind: 'question', text: '{}' })
  expect(head).toMatchObject({ kind: 'head', id: 4 })
  expect(end).toEqual({ kind: 'end', id: 4, status: 406 })
})
