/** QUIC with quic-go's client: the cases of test/clients/go/interop.go, without and with Retry. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startEdge } from '../harness/edge.ts'
import { caseFaults, type CaseReport, runGo, startGoBackend } from '../harness/go.ts'

test.each([
  ['without Retry', 100],
  ['with Retry', 0],
])(
  'quic-go, %s',
  async (_name, quicRetryFrom) => {
    const directory = mkdtempSync(join(tmpdir(), 'edge-interop-'))
    const config = join(directory, 'edge.yaml')
    const backend = await startGoBackend(['backend'])
    const upstreams = [{ name: 'default', endpoints: [{ url: `http://${backend.address}` }] }]
    writeFileSync(config, JSON.stringify({ upstreams, limits: { quicRetryFrom } }))
    const edge = await startEdge({ arguments: ['--config', config, '--waf', 'off'] })
    const expected = `-retry=${quicRetryFrom === 0}`
    const args = ['interop', '-https', `127.0.0.1:${edge.httpsPort}`, expected]
    try {
      const report = await runGo<CaseReport>(args)
      expect(report.cases.length).toBeGreaterThanOrEqual(7)
      expect(caseFaults(report)).toEqual([])
    } finally {
      const code = await edge.stop()
      await backend.stop()
      rmSync(directory, { recursive: true, force: true })
      expect(code).toBe(0)
    }
  },
  120_000,
)
