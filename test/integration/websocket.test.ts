/**
 * WebSocket on h1 in clear, h1 over TLS, h2 (RFC 8441) and h3 (RFC 9220): every case of
 * test/clients/go/tunnel.go, before a backend that answers as the path says.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import {
  caseFaults,
  type CaseReport,
  type GoBackend,
  runGo,
  startGoBackend,
} from '../harness/go.ts'

interface Seen {
  readonly method: string
  readonly target: string
  readonly fields: Record<string, string[]>
  readonly early: number
}

let backend: GoBackend
let edge: RunningEdge

beforeAll(async () => {
  backend = await startGoBackend(['websocket-backend'])
  const flags = ['--backend', `http://${backend.address}`, '--no-redirect', '--waf', 'off']
  edge = await startEdge({ arguments: flags })
}, 120_000)

afterAll(async () => {
  const code = await edge.stop()
  await backend.stop()
  expect(code).toBe(0)
}, 60_000)

test.each(['h1', 'h1s', 'h2', 'h3'])(
  'WebSocket over %s',
  async (protocol) => {
    const addresses = ['-http', `127.0.0.1:${edge.httpPort}`]
    addresses.push('-https', `127.0.0.1:${edge.httpsPort}`)
    const before = backend.lines.length
    const report = await runGo<CaseReport>(['tunnel', '-protocol', protocol, ...addresses])
    expect(report.cases.length).toBeGreaterThanOrEqual(30)
    expect(caseFaults(report)).toEqual([])
    const seen = backend.lines.slice(before).map((line) => JSON.parse(line) as Seen)
    // Nothing of the client's bytes reached the backend before its 101, or instead of it.
    expect(seen.filter(({ early }) => early > 0)).toEqual([])
    // Whatever the client spoke, the backend saw one opening handshake of RFC 6455 each.
    expect(seen).toHaveLength(report.cases.length)
    for (const { method, fields } of seen) {
      expect(method).toBe('GET')
      expect(fields['Upgrade']).toEqual(['websocket'])
      expect(fields['Sec-Websocket-Version']).toEqual(['13'])
      expect(fields['Sec-Websocket-Key']?.map((key) => Buffer.from(key, 'base64').length)).toEqual([
        16,
      ])
    }
  },
  60_000,
)
