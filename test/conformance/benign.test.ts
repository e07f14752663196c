/** Benign traffic in blocking mode at level 1: nothing of it is blocked. */
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openEngine, ruleSource } from '../../proxy/cli/rule-source.ts'
import type { OfflineEngine } from '../../waf/offline/engine.ts'
import { h1Transport } from '../../proxy/regression/transports.ts'
import { startBackend } from '../harness/backend.ts'
import { crsDirectory, logFrom, startEdge } from '../harness/edge.ts'
import { benignRequests } from './benign/corpus.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN: benign corpus, no rule set at EDGE_CRS_DIR or ../shared/crs')

const requests = benignRequests()
/** An operator of an API allows its methods; the CRS by default does not. */
const setup = fileURLToPath(new URL('./benign/setup.conf', import.meta.url))

/** `pass`, or what stopped it. */
function outcome(engine: OfflineEngine, bytes: Buffer): string {
  const seen = engine.inspectRaw(bytes)
  if (seen.kind === 'refused') return seen.refusal.reason
  const { verdict, matched } = seen.inspected
  if (verdict.action === 'pass') return 'pass'
  return `${verdict.action} ${matched.map(({ rule, data }) => `${rule.id} ${data}`).join('; ')}`
}

test('the corpus has over a thousand distinct requests, always the same', () => {
  expect(requests.length).toBeGreaterThanOrEqual(1_000)
  expect(new Set(requests.map(({ bytes }) => bytes.toString('latin1'))).size).toBe(requests.length)
  expect(benignRequests()).toEqual(requests)
})

test.runIf(crs)(
  'none of them is blocked at level 1',
  () => {
    if (!crs) return
    const engine = openEngine(ruleSource({ rules: crs, paranoia: '1', 'waf-setup': [setup] }, {}), {
      mode: 'block',
    })
    const blocked = requests.map(({ name, bytes }) => `${name}: ${outcome(engine, bytes)}`)
    engine.close()
    expect(blocked.filter((one) => !one.endsWith(': pass'))).toEqual([])
  },
  120_000,
)

test.runIf(crs)(
  'nor over a socket',
  async () => {
    if (!crs) return
    const backend = await startBackend()
    const flags = ['--backend', backend.url, '--no-redirect', '--waf', 'block', '--paranoia', '1']
    const args = [...flags, '--rules', crs, '--waf-setup', setup]
    const edge = await startEdge({ arguments: args, readyTimeoutMs: 100_000 })
    try {
      const way = h1Transport({ host: '127.0.0.1', port: edge.httpPort, tls: false })
      const base = { method: '', uri: '', version: '', headers: [], data: '' }
      for (const { name, bytes } of requests.filter((_, index) => index % 9 === 0)) {
        const request = { ...base, autocompleteHeaders: false, raw: bytes }
        expect([name, await way.send(request)]).toEqual([name, 200])
      }
      expect(logFrom(edge.wafLog, 0)).toBe('')
    } finally {
      await edge.stop()
      backend.close()
    }
  },
  120_000,
)
