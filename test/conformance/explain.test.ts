/**
 * Ten requests are stopped; the exclusion that `edge explain` prints for each, pasted, lets exactly
 * that request pass, and no verdict of the regression set changes. Here with every eighth case;
 * `npm run conformance:explain` takes all.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { crsDirectory } from '../harness/edge.ts'
import { readCases } from './crs/cases.ts'
import { type ExplainedEdge, proveExclusions, startExplainedEdge } from './explain/run.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN: edge explain, no rule set at EDGE_CRS_DIR or ../shared/crs')

let started: ExplainedEdge | null = null

beforeAll(async () => {
  started = await startExplainedEdge()
}, 120_000)

afterAll(async () => {
  await started?.stop()
})

test.runIf(crs)(
  'the exclusions of ten blocks let exactly these pass',
  async () => {
    if (!started || !crs) throw new Error('the edge did not start')
    const cases = readCases(join(crs, 'tests')).filter((_, index) => index % 8 === 0)
    expect(await proveExclusions(started, cases)).toEqual([])
  },
  300_000,
)
