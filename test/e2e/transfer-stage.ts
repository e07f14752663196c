/** The stage of the transfer tests: one edge whose routes stream, before one backend. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEdge } from '../harness/edge.ts'
import { runGo, startGoBackend } from '../harness/go.ts'

/** What the client says about one body. */
export interface TransferReport {
  readonly protocol: string
  readonly direction: string
  readonly status: number
  readonly bytes: number
  readonly written: number
  readonly error: string
  readonly rssBefore: number
  readonly rssMost: number
  readonly rssAfter: number
  readonly cpuMs: number
  readonly tookMs: number
}

/** The clients' protocols: HTTP/1.1 in clear and with TLS, HTTP/2, HTTP/3. */
export const protocols = ['h1', 'h1s', 'h2', 'h3'] as const

/** One body to move; `both`: one up, and at once one of four times its length down. */
export interface Transfer {
  readonly protocol: string
  readonly direction: 'up' | 'down' | 'both'
  readonly bytes: number
  readonly unknownLength?: boolean
}

/** A running stage. */
export interface TransferStage {
  readonly address: string
  transfer(what: Transfer): Promise<TransferReport>
  /** Ends all; returns the exit code of the edge. */
  stop(): Promise<number | null>
}

/** How the edge is set up. */
interface TransferSettings {
  /** `stream`: the WAF inspects heads and lets longer bodies stream; `off`: there is no WAF. */
  readonly waf: 'off' | 'stream'
  readonly bodyMax?: string
  /** What the backend speaks: HTTP/1.1, or HTTP/2 in clear. */
  readonly backend?: 'h1' | 'h2c'
}

/** Starts the backend and the edge. */
export async function startTransferStage({
  waf,
  bodyMax = '2GiB',
  backend: kind = 'h1',
}: TransferSettings): Promise<TransferStage> {
  const backend = await startGoBackend(['backend', '-kind', kind])
  const directory = mkdtempSync(join(tmpdir(), 'edge-transfer-'))
  const path = (name: string) => join(directory, name)
  const rule = 'SecRule REQUEST_HEADERS:User-Agent "@contains bad" "id:1,phase:1,deny,status:403"\n'
  writeFileSync(path('rule.conf'), rule)
  const route = { name: 'all', upstream: 'default', bodyMax, inspectMax: '1MiB' }
  const endpoints = [{ url: `http://${backend.address}` }]
  const settings = {
    routes: [{ ...route, overInspectMax: waf === 'off' ? 'reject' : 'stream' }],
    upstreams: [{ name: 'default', protocol: kind === 'h1' ? 'http1' : 'http2', endpoints }],
    waf: waf === 'off' ? { mode: 'off' } : { mode: 'block', setupFiles: [path('rule.conf')] },
    log: { access: false },
  }
  writeFileSync(path('edge.yaml'), JSON.stringify(settings))
  const edge = await startEdge({ arguments: ['--config', path('edge.yaml'), '--no-redirect'] })
  const address = `127.0.0.1:${edge.httpsPort}`
  const target = ['-https', address, '-http', `127.0.0.1:${edge.httpPort}`]
  return {
    address,
    transfer: ({ protocol, direction, bytes, unknownLength = false }) => {
      const size = ['-bytes', String(bytes), `-unknown-length=${unknownLength}`]
      const what = ['-protocol', protocol, '-direction', direction, ...size]
      const pid = ['-pid', String(edge.process.pid)]
      return runGo<TransferReport>(['transfer', ...target, ...what, ...pid], 600_000)
    },
    stop: async () => {
      const code = await edge.stop()
      await backend.stop()
      rmSync(directory, { recursive: true, force: true })
      return code
    },
  }
}

const growthBytesMax = 32 * 1024 * 1024

/** Why a transfer was not what it should be; empty: it was. */
export function transferFaults(report: TransferReport, bytes: number): string[] {
  const growth = report.rssMost - report.rssBefore
  const broken: [boolean, string][] = [
    [report.error !== '', report.error],
    [report.status !== 200, `status ${report.status}`],
    [report.bytes !== bytes, `${report.bytes} right bytes of ${bytes}`],
    [growth > growthBytesMax, `resident memory grew by ${Math.round(growth / 1024)} KiB`],
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, text]) => text)
}
