/** Malformed HTTP/3 by an aioquic client that sends raw frames (test/clients/h3_attack.py). */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { root, startEdge, type RunningEdge } from '../harness/edge.ts'
import { pythonWithAioquic } from '../harness/h3.ts'

/** Fewer would mean that the client ended before it had played them all. */
const casesMin = 100

let backend: Backend
let edge: RunningEdge

beforeAll(async () => {
  pythonWithAioquic()
  backend = await startBackend()
  edge = await startEdge({ arguments: ['--backend', backend.url, '--waf', 'off'] })
}, 120_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
})

test('every malformed HTTP/3 exchange ends as its rule says', async () => {
  const script = join(root, 'test/clients/h3_attack.py')
  const arguments_ = [script, String(edge.httpsPort)]
  const { stdout } = await promisify(execFile)(pythonWithAioquic(), arguments_)
  const lines = stdout.trim().split('\n')
  const played = lines.map((line) => JSON.parse(line) as Record<string, string>)
  const other = played.filter(({ expected, got }) => expected !== got)
  expect(other).toEqual([])
  expect(played.length).toBeGreaterThanOrEqual(casesMin)
}, 60_000)
