import { expect, test } from 'vitest'
import { denialProblem, page } from './block-page.ts'

const context = { requestId: '0190-abc', timeMs: 0, accept: '', grpc: false }

const formats = [
  ['', 'text/plain; charset=utf-8'],
  ['*/*', 'text/plain; charset=utf-8'],
  ['text/html', 'text/html; charset=utf-8'],
  ['text/html,application/xhtml+xml,*/*;q=0.8', 'text/html; charset=utf-8'],
  ['application/json', 'application/problem+json'],
  ['application/problem+json', 'application/problem+json'],
  ['application/vnd.api+json;version=1', 'application/problem+json'],
  ['text/html;q=0.5, application/json;q=0.9', 'application/problem+json'],
  ['text/html;q=0', 'text/plain; charset=utf-8'],
  ['TEXT/HTML', 'text/html; charset=utf-8'],
  ['text/html;q=no', 'text/plain; charset=utf-8'],
] as const

for (const [accept, type] of formats) {
  test(`Accept "${accept}" gets ${type}`, () => {
    const { headers } = page(denialProblem(403), { ...context, accept })
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': type,
      'cache-control': 'no-store',
    })
  })
}

test('gRPC gets plain text whatever it accepts', () => {
  const { headers } = page(denialProblem(403), { ...context, accept: 'text/html', grpc: true })
  expect(headers[0]).toEqual(['content-type', 'text/plain; charset=utf-8'])
})

test('the HTML page needs nothing from elsewhere and runs nothing', () => {
  const { body } = page(denialProblem(403), { ...context, accept: 'text/html' })
  expect(body).toContain('<dd>0190-abc</dd>')
  expect(body).toContain('1970-01-01 00:00:00 UTC')
  expect(body).not.toMatch(/<script|src=|href=|url\(/)
})

test('a request id from outside is text, not markup', () => {
  const { body } = page(denialProblem(403), {
    ...context,
    accept: 'text/html',
    requestId: '<b>"&\'',
  })
  expect(body).toContain('<dd>&lt;b&gt;&quot;&amp;&#39;</dd>')
})

test('the JSON page tells the request id and no rule', () =>
  expect(
    JSON.parse(page(denialProblem(403), { ...context, accept: 'application/json' }).body),
  ).toEqual({
    type: 'about:blank',
    title: 'This request was blocked.',
    status: 403,
    requestId: '0190-abc',
    time: '1970-01-01T00:00:00.000Z',
  }))
