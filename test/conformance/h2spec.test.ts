/** h2spec in strict mode over TLS against the real program: all passes, nothing is skipped. */
import { expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { startEdge } from '../harness/edge.ts'
import { h2specProgram, runH2Spec } from '../harness/h2spec.ts'

test('h2spec strict: 146 passed, none skipped', async () => {
  h2specProgram()
  const backend = await startBackend()
  const edge = await startEdge({ arguments: ['--backend', backend.url, '--waf', 'off'] })
  try {
    const report = await runH2Spec(edge.httpsPort, '/')
    const { passed, skipped, failed } = report
    const why = report.output.slice(report.output.indexOf('Failures:'))
    expect({ passed, skipped, failed }, why).toEqual({ passed: 146, skipped: 0, failed: 0 })
  } finally {
    await edge.stop()
    backend.close()
  }
}, 300_000)
