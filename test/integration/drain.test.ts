/** SIGTERM: health says so at once, what runs finishes, exit 0. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'

function fetchBody(url: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (answer: IncomingMessage) => {
      let body = ''
      answer.setEncoding('latin1').on('data', (chunk: string) => (body += chunk))
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }))
      answer.on('error', reject)
    }).on('error', reject)
  })
}

test('a drain turns health to 503, lets a running download finish and exits 0', async () => {
  const backend = await startBackend()
  const edge = await startEdge({
    arguments: ['--backend', backend.url, '--no-redirect', '--waf', 'off'],
  })
  const base = `http://127.0.0.1:${edge.httpPort}`
  const download = fetchBody(`${base}/slow?ms=100&parts=15`)
  await new Promise((resolve) => setTimeout(resolve, 300))
  const ended = once(edge.process, 'exit')
  edge.process.kill('SIGTERM')
  await new Promise((resolve) => setTimeout(resolve, 100))
  const health = await fetchBody(`${base}/_gwhealthz`)
  expect([health.status, health.body.trim()]).toEqual([503, 'draining'])
  const finished = await download
  expect([finished.status, finished.body]).toEqual([200, 'part\n'.repeat(15)])
  const [code] = (await ended) as [number | null]
  expect(code).toBe(0)
  await edge.stop()
  backend.close()
}, 60_000)
