/**
 * The CRS regression cases in short form: all that are shared over h1, every eighth over h2 and h3.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { crsDirectory } from '../harness/edge.ts'
import { readCases } from './crs/cases.ts'
import { runCases, startConformanceEdge } from './crs/run.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN: CRS conformance, no rule set at EDGE_CRS_DIR or ../shared/crs')

let started: Awaited<ReturnType<typeof startConformanceEdge>> = null

beforeAll(async () => {
  started = await startConformanceEdge()
}, 120_000)

afterAll(async () => {
  await started?.edge.stop()
  started?.backend.close()
})

/** All pass but the listed overrides; the slack is for a lost packet, not for a lost rule. */
const floors = { h1: 0.995, h2: 0.995, h3: 0.995 } as const

test.runIf(crs).each([
  ['h1', 1],
  ['h2', 8],
  ['h3', 8],
] as const)(
  'CRS cases pass over %s',
  async (protocol, every) => {
    if (!started || !crs) throw new Error('the conformance edge did not start')
    const cases = readCases(join(crs, 'tests')).filter((_, index) => index % every === 0)
    const report = await runCases(cases, started.edge, protocol)
    const judged = report.passed + report.failed.length
    console.log(`CRS over ${protocol}: ${report.passed} of ${judged} passed`)
    expect(judged).toBeGreaterThan(cases.length / 2)
    expect(report.passed / judged).toBeGreaterThanOrEqual(floors[protocol])
  },
  300_000,
)
