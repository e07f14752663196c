/** The base and the CRS, folded: a rule too many in the start costs every request. */
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { crsDirectory } from '../harness/edge.ts'
import { compile } from '../../waf/compile/compile.ts'
import { noExclusions } from '../../waf/exclusions.ts'
import { prepare } from '../../waf/prepared.ts'
import type { PreparedProgram } from '../../waf/prepared.ts'
import { liveRules } from '../../waf/prune.ts'
import { loadRuleset } from '../../waf/seclang/load.ts'

const crs = crsDirectory()
if (crs === null) console.warn('NOT RUN: folding of the CRS, no rules')

function prepared(paranoia: number): PreparedProgram {
  const baseFile = fileURLToPath(new URL('../../waf/base.conf', import.meta.url))
  const ruleset = loadRuleset({ baseFile, crsDirectory: crs, paranoia, setupFiles: [] })
  return prepare(compile(ruleset, () => 1))
}

test.runIf(crs)('what the CRS sets at its start is there before a request comes', () => {
  const { initialTx, phases } = prepared(1)
  expect(initialTx.get('inbound_anomaly_score_threshold')).toBe('5')
  const controls = phases.map((phase) => phase.controls.length)
  expect(controls[1]).toBeLessThan(5)
  expect(controls[2]).toBeLessThan(10)
})

test.runIf(crs).each([
  [1, 1],
  [2, 2],
  [4, 2],
])('at level %i a clean request runs no rule of the CRS', (paranoia, guards) => {
  const program = prepared(paranoia)
  // Without a hit every phase is settled by TX…
  const settled = [1, 2, 3, 4, 5].map(
    (phase) => program.quiet?.of(phase, [], noExclusions) !== null,
  )
  expect(settled).toEqual([true, true, true, true, true])
  const [, first] = program.phases
  const rules = first === undefined ? [] : liveRules(first).map((index) => first.rules[index])
  const unique = [...new Set(rules)]
  // … the rules on names of headers are run only for names that are on a list…
  expect(unique.filter((rule) => rule?.guard)).toHaveLength(guards)
  // … and of the rules that every GET meets all do the same for each of them.
  const met = [901_340, 941_010].map((id) => first?.rules.findIndex(({ rule }) => rule.id === id))
  const fired = met.map((index) => index ?? -1)
  expect(program.quiet?.of(1, fired, noExclusions)).not.toBeNull()
})
