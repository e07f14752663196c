/** The base and the CRS, folded: a rule too many in the start costs every request. */
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { crsDirectory } from '../harness/edge.ts'
import { compile } from '../../waf/compile/compile.ts'
import { prepare } from '../../waf/prepared.ts'
import { loadRuleset } from '../../waf/seclang/load.ts'

const crs = crsDirectory()
if (crs === null) console.warn('NOT RUN: folding of the CRS, no rules')

test.runIf(crs)('what the CRS sets at its start is there before a request comes', () => {
  const baseFile = fileURLToPath(new URL('../../waf/base.conf', import.meta.url))
  const ruleset = loadRuleset({ baseFile, crsDirectory: crs, paranoia: 1, setupFiles: [] })
  const { initialTx, phases } = prepare(compile(ruleset, () => 1))
  expect(initialTx.get('inbound_anomaly_score_threshold')).toBe('5')
  const controls = phases.map((phase) => phase?.controls.length ?? 0)
  expect(controls[1]).toBeLessThan(20)
  expect(controls[2]).toBeLessThan(20)
})
