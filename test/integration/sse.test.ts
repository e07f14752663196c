/** Server-Sent Events arrive one by one, when the backend writes them, on every protocol. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { type GoBackend, runGo, startGoBackend } from '../harness/go.ts'

interface SseReport {
  readonly events: number
  readonly delayMaxMs: number
  readonly together: number
}

let backend: GoBackend
let edge: RunningEdge

beforeAll(async () => {
  backend = await startGoBackend(['backend'])
  const flags = ['--backend', `http://${backend.address}`, '--no-redirect', '--waf', 'off']
  edge = await startEdge({ arguments: flags })
}, 120_000)

afterAll(async () => {
  const code = await edge.stop()
  await backend.stop()
  expect(code).toBe(0)
}, 60_000)

test.each(['h1', 'h1s', 'h2', 'h3'])(
  'events arrive one by one over %s',
  async (protocol) => {
    const addresses = ['-http', `127.0.0.1:${edge.httpPort}`]
    addresses.push('-https', `127.0.0.1:${edge.httpsPort}`)
    const size = ['-count', '10', '-pause', '100ms']
    const report = await runGo<SseReport>(['sse', '-protocol', protocol, ...size, ...addresses])
    expect(report.events).toBe(10)
    // A proxy that collects events delays the first of them by the pauses after it. A busy machine
    // may be late once, but not by many pauses.
    expect(report.delayMaxMs).toBeLessThan(500)
    expect(report.together).toBeLessThan(5)
  },
  60_000,
)
