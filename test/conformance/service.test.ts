/**
 * Every eighth CRS regression case through a proxy that asks a service: the verdicts are those of
 * an edge that inspects by itself, by the lines that it logs.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readCases } from '../../proxy/regression/cases.ts'
import { readOverrides } from '../../proxy/regression/overrides.ts'
import { runCases } from '../../proxy/regression/run.ts'
import { crsDirectory } from '../harness/edge.ts'
import { edgeTarget, overridesFile, startConformanceEdge } from './crs/edge.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN: CRS conformance by a service, no rule set at EDGE_CRS_DIR')

const every = 8

test.runIf(crs)(
  'CRS cases pass where a service inspects',
  async () => {
    const started = await startConformanceEdge('service')
    if (started === null || crs === null) throw new Error('the edge did not start')
    const cases = readCases([join(crs, 'tests')]).filter((_, index) => index % every === 0)
    const target = edgeTarget(started.edge, 'h1')
    const { passed, failed, notCarried } = await runCases(
      cases,
      target,
      readOverrides(overridesFile),
    )
    target.close()
    await started.stop()
    expect(failed).toEqual([])
    expect(passed.length + notCarried.length).toBe(cases.length)
    expect(passed.length).toBeGreaterThan(cases.length / 2)
  },
  400_000,
)
