/**
 * `npm run conformance:crs -- [h1|h2|h3] [filter]`: the shared CRS regression cases over one
 * protocol.
 * Prints every failure and the count; exit 3 when a case fails.
 */
import { join } from 'node:path'
import { crsDirectory } from '../../harness/edge.ts'
import { readCases } from './cases.ts'
import { runCases, startConformanceEdge } from './run.ts'
import type { Protocol } from './transports.ts'

const protocols: readonly string[] = ['h1', 'h2', 'h3']

async function main(): Promise<number> {
  const [protocol = 'h1', filter = ''] = process.argv.slice(2)
  const crs = crsDirectory()
  if (!crs || !protocols.includes(protocol)) {
    console.error('needs EDGE_CRS_DIR (default ../shared/crs) and one of h1, h2, h3')
    return 2
  }
  const started = await startConformanceEdge()
  if (!started) return 2
  const cases = readCases(join(crs, 'tests')).filter((one) => one.id.startsWith(filter))
  try {
    const report = await runCases(cases, started.edge, protocol as Protocol)
    for (const { id, why } of report.failed) console.log(`FAIL ${id}: ${why}`)
    for (const [why, count] of report.skipped)
      console.log(`not carried by ${protocol}: ${count} × ${why}`)
    console.log(`${protocol}: ${report.passed} passed, ${report.failed.length} failed`)
    return report.failed.length > 0 ? 3 : 0
  } finally {
    await started.edge.stop()
    started.backend.close()
  }
}

process.exitCode = await main()
