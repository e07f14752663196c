/**
 * The CRS regression cases in short form: all that are shared over h1, with and without a server,
 * every eighth over h2 and h3. By the runner of `edge waf test`.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openEngine, ruleSource } from '../../proxy/cli/rule-source.ts'
import { readCases } from '../../proxy/regression/cases.ts'
import { LineBuffer, offlineTarget } from '../../proxy/regression/offline-target.ts'
import { readOverrides } from '../../proxy/regression/overrides.ts'
import { runCases } from '../../proxy/regression/run.ts'
import { crsDirectory } from '../harness/edge.ts'
import {
  type ConformanceEdge,
  edgeTarget,
  overridesFile,
  startConformanceEdge,
} from './crs/edge.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN: CRS conformance, no rule set at EDGE_CRS_DIR or ../shared/crs')

let started: ConformanceEdge | null = null

beforeAll(async () => {
  started = await startConformanceEdge()
}, 120_000)

afterAll(async () => {
  await started?.stop()
})

const overrides = readOverrides(overridesFile)

test('there are at most 24 overrides', () => {
  expect(overrides.count).toBeGreaterThan(0)
  expect(overrides.count).toBeLessThanOrEqual(24)
})

/** All pass; the slack is for a lost packet, not for a lost rule. */
const floor = 0.998

test.runIf(crs).each([
  ['h1', 1],
  ['h2', 8],
  ['h3', 8],
] as const)(
  'CRS cases pass over %s',
  async (protocol, every) => {
    if (!started || !crs) throw new Error('the conformance edge did not start')
    const cases = readCases([join(crs, 'tests')]).filter((_, index) => index % every === 0)
    const target = edgeTarget(started.edge, protocol)
    const { passed, failed, notCarried } = await runCases(cases, target, overrides)
    target.close()
    const judged = passed.length + failed.length
    console.log(`CRS over ${protocol}: ${passed.length} of ${judged} passed`, failed)
    expect(judged + notCarried.length).toBe(cases.length)
    expect(judged).toBeGreaterThan(cases.length / 2)
    expect(passed.length / judged).toBeGreaterThanOrEqual(floor)
  },
  300_000,
)

test.runIf(crs).each([
  ['1.1', 1],
  ['2', 8],
  ['3', 8],
] as const)(
  'CRS cases pass without a server, as HTTP/%s',
  async (version, every) => {
    if (!crs) return
    const setup = fileURLToPath(new URL('../../proxy/regression/crs-cases.conf', import.meta.url))
    const lines = new LineBuffer()
    const source = ruleSource({ rules: crs, 'waf-setup': [setup] }, {})
    const engine = openEngine(source, { mode: 'detect', log: lines })
    const { refuse } = source.config.policy
    const target = offlineTarget(engine, { version, lines, refuse })
    const cases = readCases([join(crs, 'tests')]).filter((_, index) => index % every === 0)
    const { passed, failed } = await runCases(cases, target, overrides)
    target.close()
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(cases.length / 2)
  },
  300_000,
)
