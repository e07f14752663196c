/** gRPC through the edge with grpc-go on both sides, towards backends over h2c and h2 with TLS. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { crsDirectory, startEdge } from '../harness/edge.ts'
import { caseFaults, type CaseReport, runGo, startGoBackend } from '../harness/go.ts'

const crs = crsDirectory()
/** The CRS refuses media types that its setup does not name, and this one it does not. */
const setup =
  'SecAction "id:900220,phase:1,pass,nolog,' +
  "setvar:'tx.allowed_request_content_type=|application/grpc|'\"\n"
const ways = [
  ['h2c', 'off'],
  ['TLS', 'off'],
  ['h2c', 'block'],
]

test.each(ways)(
  'gRPC: unary and streams, trailers, codes, deadlines, over %s, WAF %s',
  async (kind, mode = 'off') => {
    const backend = await startGoBackend(['grpc-backend', `-tls=${kind === 'TLS'}`])
    const directory = mkdtempSync(join(tmpdir(), 'edge-grpc-'))
    const path = (name: string) => join(directory, name)
    writeFileSync(path('backend.pem'), backend.certificate)
    const port = backend.address.split(':')[1]
    const upstream =
      kind === 'TLS'
        ? {
            endpoints: [{ url: `https://localhost:${port}` }],
            tls: { caFile: path('backend.pem') },
          }
        : { endpoints: [{ url: `http://${backend.address}` }] }
    const upstreams = [{ name: 'default', protocol: 'http2', ...upstream }]
    writeFileSync(path('edge.yaml'), JSON.stringify({ upstreams }))
    writeFileSync(path('setup.conf'), setup)
    const rules = crs === null ? [] : ['--rules', crs, '--waf-setup', path('setup.conf')]
    const flags = ['--config', path('edge.yaml'), '--waf', mode, ...rules]
    const edge = await startEdge({ arguments: flags }).catch(async (error: unknown) => {
      await backend.stop()
      throw error
    })
    try {
      const report = await runGo<CaseReport>(['grpc', '-https', `127.0.0.1:${edge.httpsPort}`])
      expect(report.cases.length).toBeGreaterThanOrEqual(13)
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
