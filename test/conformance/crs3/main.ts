/**
 * `npm run conformance:crs3`: Debian's CRS 3.3 under the cases of CRS 4 for the rules that both
 * have. A case that goes otherwise is explained when libmodsecurity3 with the same rules says what
 * we say, or, where it is not installed, when the rule is another one in the two versions. Exit 3
 * for any that is not explained.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openEngine, ruleSource } from '../../../proxy/cli/rule-source.ts'
import { answerOf } from '../../../proxy/regression/albedo.ts'
import { type RegressionCase, readCases } from '../../../proxy/regression/cases.ts'
import { loggedIds } from '../../../proxy/regression/judge.ts'
import { LineBuffer, offlineTarget } from '../../../proxy/regression/offline-target.ts'
import { readOverrides } from '../../../proxy/regression/overrides.ts'
import { runCases } from '../../../proxy/regression/run.ts'
import { complete, onTheWire } from '../../../proxy/regression/wire-request.ts'
import type { OfflineEngine } from '../../../waf/offline/engine.ts'
import type { Rule } from '../../../waf/rule.ts'
import { type RulesetOptions, loadRuleset } from '../../../waf/seclang/load.ts'
import { crsDirectory } from '../../harness/edge.ts'
import { type Oracle, OracleMissing, openOracle } from '../../oracle/oracle.ts'
import { overridesFile } from '../crs/edge.ts'

const debian = { rules: '/usr/share/modsecurity-crs/rules', setup: '/etc/modsecurity/crs' }
const setup = fileURLToPath(new URL('../../../proxy/regression/crs-cases.conf', import.meta.url))

async function main(): Promise<number> {
  const setupFile = join(debian.setup, 'crs-setup.conf')
  const crs4 = crsDirectory()
  if (!existsSync(debian.rules) || !existsSync(setupFile)) {
    console.error('not run: install the Debian package modsecurity-crs')
    return 2
  }
  if (crs4 === null) {
    console.error('not run: needs the CRS 4 cases at EDGE_CRS_DIR (default ../shared/crs)')
    return 2
  }
  const folder = mkdtempSync(join(tmpdir(), 'edge-crs3-'))
  symlinkSync(debian.rules, join(folder, 'rules'))
  symlinkSync(setupFile, join(folder, 'crs-setup.conf'))
  try {
    return await compare(folder, crs4)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function compare(crs3: string, crs4: string): Promise<number> {
  const source = ruleSource({ rules: crs3, 'waf-setup': [setup] }, {})
  const threes = rulesById(source.ruleset)
  const fours = rulesById(ruleSource({ rules: crs4 }, {}).ruleset)
  const shared = readCases([join(crs4, 'tests')]).filter(({ ruleId }) => threes.has(ruleId))
  const lines = new LineBuffer()
  const engine = openEngine(source, { mode: 'detect', log: lines })
  const oracle = await oracleOf(crs3)
  const target = offlineTarget(engine, {
    version: '1.1',
    lines,
    refuse: source.config.policy.refuse,
  })
  const { passed, failed } = await runCases(shared, target, readOverrides(overridesFile))
  const ids = new Set(shared.map(({ ruleId }) => ruleId))
  console.log(`${threes.size} rules of CRS 3.3 loaded, ${ids.size} of them have cases`)
  let unexplained = 0
  const explained = new Map<string, string[]>()
  for (const { id } of failed) {
    const one = shared.find((given) => given.id === id)
    if (one === undefined) continue
    const same = oracle === null ? null : await agrees(one, engine, lines, oracle)
    const changed = textOf(threes.get(one.ruleId)) !== textOf(fours.get(one.ruleId))
    const why = explanation(same, changed)
    if (why === null) {
      unexplained += 1
      console.log(`UNEXPLAINED ${id}`)
    } else explained.set(why, [...(explained.get(why) ?? []), id])
  }
  for (const [why, cases] of explained) console.log(`${cases.length} × ${why}: ${cases.join(', ')}`)
  console.log(
    `${shared.length} cases: ${passed.length} as in CRS 4, ` +
      `${failed.length - unexplained} otherwise and explained, ${unexplained} unexplained`,
  )
  await oracle?.close()
  target.close()
  return unexplained > 0 ? 3 : 0
}

/** Null: nothing explains it. */
function explanation(same: boolean | null, changed: boolean): string | null {
  const text = changed ? 'the rule is another one in CRS 4' : 'the rule is the same in CRS 4'
  if (same === true) return `ModSecurity v3 with CRS 3.3 says the same as we do; ${text}`
  return same === null && changed ? text : null
}

function rulesById(ruleset: RulesetOptions): Map<number, Rule> {
  const { items } = loadRuleset(ruleset)
  return new Map(items.flatMap((item) => (item.kind === 'rule' ? [[item.id, item]] : [])))
}

/** What a rule looks for, and where. */
function textOf(rule: Rule | undefined): string {
  const links = rule?.links.map(({ targets, operator, negated, argument, transformations }) => ({
    targets,
    operator,
    negated,
    argument,
    transformations,
  }))
  return JSON.stringify([rule?.phase, links])
}

/** Null, loudly, where libmodsecurity is not installed. */
async function oracleOf(crs3: string): Promise<Oracle | null> {
  const rules = readdirSync(join(crs3, 'rules')).filter((name) => name.endsWith('.conf'))
  const files = rules.toSorted().map((name) => join(crs3, 'rules', name))
  const own = fileURLToPath(new URL('oracle.conf', import.meta.url))
  const levels = fileURLToPath(new URL('../../../waf/crs-3.conf', import.meta.url))
  try {
    return await openOracle([own, join(crs3, 'crs-setup.conf'), levels, setup, ...files])
  } catch (error) {
    if (!(error instanceof OracleMissing)) throw error
    console.error(`explanations by the rules' texts alone; ${error.message}`)
    return null
  }
}

/** Whether libmodsecurity sees the case's ids where we see them. */
async function agrees(
  one: RegressionCase,
  engine: OfflineEngine,
  lines: LineBuffer,
  oracle: Oracle,
): Promise<boolean> {
  for (const { request, expect } of one.stages) {
    lines.take()
    const raw = request.raw ?? onTheWire(complete(request))
    const seen = engine.inspectRaw(raw, { peer: '127.0.0.1' }, (read) =>
      answerOf(read.target, read.content),
    )
    if (seen.kind === 'refused') return false
    const ours = loggedIds(lines.take())
    const { method, target, headers, content, protocol = '' } = seen.request
    const { ids } = await oracle.ask({
      method,
      target,
      headers,
      version: protocol.replace('HTTP/', ''),
      client: '127.0.0.1',
      ...(content.length > 0 ? { body: content } : {}),
      response: answerOf(target, content),
    })
    const asked = [...expect.expectIds, ...expect.noExpectIds]
    if (asked.some((id) => ours.has(id) !== ids.includes(id))) return false
  }
  return true
}

process.exitCode = await main()
