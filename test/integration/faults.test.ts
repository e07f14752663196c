/** Worker faults under load: nothing passes uninspected, everything else is answered. */
import { writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { startBackend, type Backend } from '../harness/backend.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'

let backend: Backend
let edge: RunningEdge
const agent = new Agent({ keepAlive: true, maxSockets: 16 })

beforeAll(async () => {
  backend = await startBackend()
  const file = join(mkdtempSync(join(tmpdir(), 'edge-faults-')), 'rule.conf')
  writeFileSync(file, `SecRule ARGS:q "@streq bad" "id:1,phase:2,deny,status:403,log,msg:'bad'"\n`)
  const flags = ['--backend', backend.url, '--no-redirect', '--waf-setup', file]
  const environment = { EDGE_TEST_HOOKS: '1' }
  edge = await startEdge({ arguments: flags, environment })
}, 120_000)

afterAll(async () => {
  agent.destroy()
  await edge.stop()
  backend.close()
})

/** Status of one GET on a kept-alive connection; 0 when the connection broke. */
function get(path: string, hook?: string): Promise<number> {
  return new Promise((resolve) => {
    const headers = hook === undefined ? {} : { 'x-edge-test': hook }
    const asked = request(
      { port: edge.httpPort, host: '127.0.0.1', path, agent, headers },
      (answer) => {
        answer.resume()
        answer.on('end', () => resolve(answer.statusCode ?? 0))
      },
    )
    asked.on('error', () => resolve(0))
    asked.setTimeout(10_000, () => asked.destroy())
    asked.end()
  })
}

test.each(['throw', 'exit', 'loop'])(
  'a worker that does «%s» costs no answer and lets nothing pass',
  async (hook) => {
    const statuses = new Map<string, number>()
    const count = (key: string) => statuses.set(key, (statuses.get(key) ?? 0) + 1)
    const until = Date.now() + 4_000
    const clients = Array.from({ length: 8 }, async (_, index) => {
      for (let turn = 0; Date.now() < until; turn += 1) {
        const bad = (index + turn) % 3 === 0
        count(`${bad ? 'bad' : 'good'} ${await get(bad ? '/?q=bad' : '/?q=fine')}`)
      }
    })
    const killer = (async () => {
      while (Date.now() < until - 1_500) {
        count(`hook ${await get('/?q=fine', `${hook}-once`)}`)
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
    })()
    await Promise.all([...clients, killer])
    const keys = [...statuses.keys()].toSorted()
    expect(keys, JSON.stringify([...statuses])).toEqual(['bad 403', 'good 200', 'hook 200'])
    expect(backend.seen.filter((seen) => seen.url.includes('bad'))).toEqual([])
  },
  30_000,
)

test('a request that takes two workers down is refused with 503', async () => {
  expect(await get('/?q=fine', 'exit')).toBe(503)
  expect(await get('/?q=fine')).toBe(200)
}, 30_000)
