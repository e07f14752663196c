/**
 * `npm run conformance:explain`: the exclusions of ten blocks, as SecLang and in edge.yaml, against
 * every case of the regression set. Prints what is not as it must be; exit 3 when there is any.
 */
import { join } from 'node:path'
import { readCases } from '../../../proxy/regression/cases.ts'
import { crsDirectory } from '../../harness/edge.ts'
import { blocks } from './blocks.ts'
import { type Form, proveExclusions, startExplainedEdge } from './run.ts'

async function prove(form: Form, crs: string): Promise<number> {
  const started = await startExplainedEdge(form)
  if (started === null) return 2
  try {
    const cases = readCases([join(crs, 'tests')])
    const faults = await proveExclusions(started, cases)
    for (const fault of faults) console.log(`FAIL ${fault}`)
    console.log(`${form}: ${blocks.length} blocks, ${cases.length} cases: ${faults.length} faults`)
    return faults.length > 0 ? 3 : 0
  } finally {
    await started.stop()
  }
}

async function main(): Promise<number> {
  const crs = crsDirectory()
  if (crs === null) {
    console.error('needs EDGE_CRS_DIR (default ../shared/crs)')
    return 2
  }
  return (await prove('secrule', crs)) || (await prove('yaml', crs))
}

process.exitCode = await main()
