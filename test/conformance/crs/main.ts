/**
 * `npm run conformance:crs -- [h1|h2|h3] [filter]`: the shared CRS regression cases over one
 * protocol, every failure and the count; exit 3 when a case fails. `--matrix` runs all three and
 * writes `crs-matrix.md`.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RegressionCase, readCases } from '../../../proxy/regression/cases.ts'
import { readOverrides } from '../../../proxy/regression/overrides.ts'
import { type RunReport, runCases } from '../../../proxy/regression/run.ts'
import { crsVersion } from '../../../proxy/rules.ts'
import { crsDirectory } from '../../harness/edge.ts'
import {
  type Protocol,
  edgeTarget,
  overridesFile,
  protocols,
  startConformanceEdge,
} from './edge.ts'
import { matrixText } from './matrix.ts'

const matrixFile = new URL('../crs-matrix.md', import.meta.url)
/** More are no overrides but another set of cases. */
const overridesMax = 24

async function main(): Promise<number> {
  const args = process.argv.slice(2)
  const isMatrix = args.includes('--matrix')
  const [name = 'h1', filter = ''] = args.filter((argument) => argument !== '--matrix')
  const wanted = protocols.filter((protocol) => isMatrix || protocol === name)
  const crs = crsDirectory()
  const started = wanted.length === 0 || crs === null ? null : await startConformanceEdge()
  if (started === null || crs === null) {
    console.error('not run: needs EDGE_CRS_DIR (default ../shared/crs) and one of h1, h2, h3')
    return 2
  }
  const cases = readCases([join(crs, 'tests')]).filter((one) => one.id.startsWith(filter))
  const overrides = readOverrides(overridesFile)
  if (overrides.count > overridesMax) throw new Error(`over ${overridesMax} overrides`)
  const reports = new Map<Protocol, RunReport>()
  try {
    for (const protocol of wanted) {
      const target = edgeTarget(started.edge, protocol)
      const report = await runCases(cases, target, overrides)
      target.close()
      tell(protocol, report, cases)
      reports.set(protocol, report)
    }
  } finally {
    await started.stop()
  }
  if (isMatrix) {
    writeFileSync(matrixFile, matrixText(reports, crsVersion(crs) ?? 'unknown', overrides.count))
  }
  return [...reports.values()].some(({ failed }) => failed.length > 0) ? 3 : 0
}

function tell(protocol: Protocol, report: RunReport, cases: readonly RegressionCase[]): void {
  const { passed, failed, notCarried } = report
  for (const { id, expected, seen } of failed) {
    console.log(`FAIL ${protocol} ${id}: expected ${expected}; seen: ${seen}`)
  }
  const judged = `${passed.length} passed, ${failed.length} failed`
  const counts = `${judged}, ${notCarried.length} not carried`
  console.log(`${protocol}: ${cases.length} cases: ${counts}`)
}

process.exitCode = await main()
