/**
 * `npm run conformance:explain`: the exclusions of ten blocks against every case of the regression
 * set. Prints what is not as it must be; exit 3 when there is something.
 */
import { join } from 'node:path'
import { crsDirectory } from '../../harness/edge.ts'
import { readCases } from '../crs/cases.ts'
import { blocks } from './blocks.ts'
import { proveExclusions, startExplainedEdge } from './run.ts'

async function main(): Promise<number> {
  const crs = crsDirectory()
  const started = await startExplainedEdge()
  if (crs === null || started === null) {
    console.error('needs EDGE_CRS_DIR (default ../shared/crs)')
    return 2
  }
  try {
    const cases = readCases(join(crs, 'tests'))
    const faults = await proveExclusions(started, cases)
    for (const fault of faults) console.log(`FAIL ${fault}`)
    console.log(`${blocks.length} blocks, ${cases.length} cases: ${faults.length} faults`)
    return faults.length > 0 ? 3 : 0
  } finally {
    await started.stop()
  }
}

process.exitCode = await main()
