/**
 * Ten requests are stopped; the exclusion that `edge explain` prints for each, pasted, lets exactly
 * that request pass, and no verdict of the regression set changes. Here with every eighth case;
 * `npm run conformance:explain` takes all.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readCases } from '../../proxy/regression/cases.ts'
import { crsDirectory } from '../harness/edge.ts'
import { proveExclusions, startExplainedEdge } from './explain/run.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN: edge explain, no rule set at EDGE_CRS_DIR or ../shared/crs')

test.runIf(crs).each([['secrule'], ['yaml']] as const)(
  'the exclusions of ten blocks, as %s, let exactly these pass',
  async (form) => {
    const started = await startExplainedEdge(form)
    if (!started || !crs) throw new Error('the edge did not start')
    try {
      const cases = readCases([join(crs, 'tests')]).filter((_, index) => index % 8 === 0)
      expect(await proveExclusions(started, cases)).toEqual([])
    } finally {
      await started.stop()
    }
  },
  300_000,
)
