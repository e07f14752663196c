/** The short k6 run: bench/k6/smoke.js over h2 and h1 against the real program. */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { startBackend } from '../harness/backend.ts'
import { crsDirectory, root, startEdge } from '../harness/edge.ts'

const k6Version = 'v1.8.1'
const crs = crsDirectory()
const k6 = join(root, '.cache/bin/k6')

function hasGo(): boolean {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('NOT RUN: k6, because there is no Go to build it with')
    return false
  }
}

const runs = crs !== null && (existsSync(k6) || hasGo())

beforeAll(() => {
  if (!runs || existsSync(k6)) return
  // Two CPU-minutes, once; the binary stays in .cache.
  const env = { ...process.env, GOBIN: join(root, '.cache/bin') }
  execFileSync('go', ['install', `go.k6.io/k6@${k6Version}`], { env, stdio: 'inherit' })
}, 900_000)

test.runIf(runs)(
  'every k6 check passes on h2 and h1',
  async () => {
    const backend = await startBackend()
    const edge = await startEdge({ arguments: ['--backend', backend.url, '--rules', crs ?? ''] })
    const script = join(root, 'bench/k6/smoke.js')
    const url = `EDGE_URL=https://localhost:${edge.httpsPort}`
    try {
      for (const [protocol, debug] of [
        ['HTTP/2.0', ''],
        ['HTTP/1.1', 'http2client=0'],
      ] as const) {
        const flags = [
          'run',
          '--quiet',
          '-e',
          url,
          '-e',
          `PROTOCOL=${protocol}`,
          '-e',
          'DURATION=3s',
        ]
        const env = { ...process.env, GODEBUG: debug, K6_NO_USAGE_REPORT: 'true' }
        const { stdout } = await promisify(execFile)(k6, [...flags, script], { env })
        expect(stdout).toMatch(/checks_succeeded[^\n]*100\.00%/)
      }
    } finally {
      await edge.stop()
      backend.close()
    }
  },
  60_000,
)
