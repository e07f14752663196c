import { expect, test } from 'vitest'
import { compile, defaultCompileLimits } from '../waf/compile/compile.ts'
import type { Program } from '../waf/program.ts'
import { parseSecLang } from '../waf/seclang/parser.ts'
import { rulesOf } from '../waf/tuning/tuned-program.ts'
import { noSettings, routeSettings, settingsAction } from '../waf/tuning/tuning.ts'
import { ConfigError } from './config/faults.ts'
import { parseConfig, type ParsedConfig } from './config/parse.ts'
import { exclusionNotices, judgeLevels, logLevels, routeLevels, tuningsOf } from './tuning.ts'

const file = `waf:
  exclusions:
    - {rules: [9, 77], tags: [gone]}
routes:
  - {name: plain, path: /, upstream: default}
  - {name: strict, path: /a, upstream: default, waf: {paranoia: 3, inboundThreshold: 2}}
  - {name: same, path: /b, upstream: default, waf: {paranoia: 3, inboundThreshold: 2}}
  - {name: loose, path: /c, upstream: default, waf: {mode: detect, exclusions: [{rules: ["8-9"]}]}}
  - {name: "off", path: /d, upstream: default, waf: {mode: "off"}}
`

function parsed(text: string): ParsedConfig {
  const config = parseConfig({
    file: { path: '/edge.yaml', name: 'edge.yaml', text },
    env: {},
    flags: [],
    folder: '/',
    processors: 1,
    installedRules: null,
  })
  if (config instanceof ConfigError) throw config
  return config
}

/** Rules that default their levels as the CRS does. */
function program(config: ParsedConfig['config'], setup = ''): Program {
  const quiet = 'phase:1,pass,nolog'
  const threshold = 'inbound_anomaly_score_threshold'
  const defaults = ['blocking_paranoia_level', 'detection_paranoia_level']
    .map((key, id) => `SecRule &TX:${key} "@eq 0" "id:${id + 1},${quiet},setvar:tx.${key}=1"`)
    .join('\n')
  const text = `${setup}
    ${settingsAction(noSettings, routeSettings.id)}
    ${defaults}
    SecRule &TX:${threshold} "@eq 0" "id:3,${quiet},setvar:tx.${threshold}=5"
    SecRule ARGS "@rx x" "id:9,phase:2,deny,tag:t"`
  let plans = 0
  const ruleset = parseSecLang([{ file: 'rules.conf', text }])
  return compile(ruleset, () => (plans += 1), defaultCompileLimits, tuningsOf(config).all)
}

test('equal routes share a tuning; the first is that of no route', () => {
  const { all, ofRoute } = tuningsOf(parsed(file).config)
  expect(ofRoute).toEqual([0, 1, 1, 2, 0])
  expect(all).toHaveLength(3)
})

test('each route says what is in force on it', () => {
  const { config } = parsed(file)
  const none = { outboundThreshold: null, earlyBlocking: false }
  const usual = { paranoia: 1, detectionParanoia: 1, inboundThreshold: 5, ...none, exclusions: 1 }
  const strict = { ...usual, paranoia: 3, detectionParanoia: 3, inboundThreshold: 2 }
  const levels = routeLevels(config, program(config))
  expect(levels).toEqual([
    { route: 'plain', mode: 'block', ...usual },
    { route: 'strict', mode: 'block', ...strict },
    { route: 'same', mode: 'block', ...strict },
    { route: 'loose', mode: 'detect', ...usual, exclusions: 2 },
    expect.objectContaining({ route: 'off', mode: 'off', paranoia: null, exclusions: 0 }),
  ])
  const lines: unknown[] = []
  const log = { info: (line: unknown) => void lines.push(line) }
  logLevels(log, { config, rules: { program: program(config) } })
  expect(lines).toEqual(levels)
})

test('an exclusion of what no rule has is noted at its place', () => {
  const { config, origins } = parsed(file)
  const expected = (where: string, what: string): string =>
    `edge.yaml:${where}: no rule ${what}: this exclusion does nothing`
  expect(exclusionNotices(config, origins, rulesOf(program(config)))).toEqual([
    expected('3:19', '77 is loaded'),
    expected('3:31', 'carries the tag "gone"'),
  ])
})

test('a level that a setup file contradicts is a fault', () => {
  const { config, origins } = parsed(file)
  judgeLevels(config, origins, program(config))
  const text = file.replace('{paranoia: 3,', '{detectionParanoia: 1,')
  const lower = parsed(text)
  const setup = 'SecAction "id:5,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=2"'
  const judge = (): void => judgeLevels(lower.config, lower.origins, program(lower.config, setup))
  expect(judge).toThrow('route "strict" blocks at level 2 and detects at 1')
})
