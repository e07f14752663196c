/**
 * What a route says in the configuration does the same as SecLang written by hand: the same rules
 * match, with the same TX and the same verdict, over requests of the CRS's own regression cases.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { compile, defaultCompileLimits } from '../../waf/compile/compile.ts'
import { OfflineEngine } from '../../waf/offline/engine.ts'
import type { Inspected, OfflineRequest } from '../../waf/offline/engine.ts'
import type { Program } from '../../waf/program.ts'
import { plansOf } from '../../waf/program.ts'
import { compileScanPlan, dropPlans } from '../../waf/scanner.ts'
import { loadRuleset } from '../../waf/seclang/load.ts'
import type { RulesetOptions } from '../../waf/seclang/load.ts'
import { noSettings } from '../../waf/tuning/tuning.ts'
import type { Exclusion, Tuning } from '../../waf/tuning/tuning.ts'
import { crsDirectory, root } from '../harness/edge.ts'

const crs = crsDirectory()
if (crs === null) console.warn('NOT RUN: tuning, no rule set at EDGE_CRS_DIR or ../shared/crs')
const every = 9

const folder = mkdtempSync(join(tmpdir(), 'edge-tuning-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Case {
  readonly name: string
  readonly tuning: Tuning
  /** Read after the CRS's setup file. */
  readonly before?: string
  /** Read after the rules. */
  readonly after?: string
}

const nothing: Exclusion = {
  rules: [],
  tags: [],
  targets: [],
  paths: [],
  methods: [],
  reason: '',
}
const range = (first: number, last = first) => ({ first, last })
const action = (actions: string): string => `SecAction "id:7,phase:1,pass,nolog,${actions}"\n`
const excluding = (...exclusions: readonly Partial<Exclusion>[]): Tuning => ({
  settings: noSettings,
  exclusions: exclusions.map((one) => ({ ...nothing, ...one })),
})

const cases: readonly Case[] = [
  { name: 'nothing', tuning: { settings: noSettings, exclusions: [] } },
  {
    name: 'levels and thresholds',
    tuning: {
      settings: {
        paranoia: 2,
        detectionParanoia: 4,
        inboundThreshold: 12,
        outboundThreshold: 9,
        earlyBlocking: true,
      },
      exclusions: [],
    },
    before: action(
      'setvar:tx.blocking_paranoia_level=2,setvar:tx.detection_paranoia_level=4,' +
        'setvar:tx.paranoia_level=2,setvar:tx.executing_paranoia_level=4,' +
        'setvar:tx.inbound_anomaly_score_threshold=12,' +
        'setvar:tx.outbound_anomaly_score_threshold=9,setvar:tx.early_blocking=1',
    ),
  },
  {
    name: 'rules by id and by tag',
    tuning: excluding(
      { rules: [range(942_100), range(921_000, 921_999)] },
      { tags: ['attack-xss'] },
    ),
    after: 'SecRuleRemoveById 942100 921000-921999\nSecRuleRemoveByTag "^attack-xss$"\n',
  },
  {
    name: 'targets',
    tuning: excluding(
      { rules: [range(930_000, 944_999)], targets: ['ARGS', 'REQUEST_HEADERS:User-Agent'] },
      { tags: ['attack-generic'], targets: ['ARGS_NAMES', 'REQUEST_COOKIES:/^t/'] },
    ),
    before: action(
      'ctl:ruleRemoveTargetById=930000-944999;ARGS,' +
        'ctl:ruleRemoveTargetById=930000-944999;REQUEST_HEADERS:User-Agent,' +
        'ctl:ruleRemoveTargetByTag=attack-generic;ARGS_NAMES,' +
        'ctl:ruleRemoveTargetByTag=attack-generic;REQUEST_COOKIES:/^t/',
    ),
  },
  {
    name: 'paths and methods',
    tuning: excluding(
      { rules: [range(932_000, 942_999)], paths: ['/get*'] },
      {
        tags: ['OWASP_CRS'],
        targets: ['ARGS:var'],
        methods: ['POST', 'PUT'],
        paths: ['/post', '/'],
      },
    ),
    before:
      'SecRule REQUEST_FILENAME "@beginsWith /get" ' +
      '"id:7,phase:1,pass,nolog,t:none,ctl:ruleRemoveById=932000-942999"\n' +
      'SecRule REQUEST_METHOD "@rx ^(?:POST|PUT)$" "id:8,phase:1,pass,nolog,t:none,chain"\n' +
      'SecRule REQUEST_FILENAME "@rx ^/(?:post)?$" ' +
      '"t:none,ctl:ruleRemoveTargetByTag=OWASP_CRS;ARGS:var"\n',
  },
  {
    name: 'rules that the start and the skips depend on',
    tuning: excluding({ rules: [range(901_160), range(942_013), range(932_015)] }),
    after: 'SecRuleRemoveById 901160 942013 932015\n',
  },
  {
    name: 'such rules, for some requests, with levels',
    tuning: {
      settings: { ...noSettings, paranoia: 2 },
      exclusions: [{ ...nothing, rules: [range(901_120), range(942_015)], methods: ['GET'] }],
    },
    before:
      action(
        'setvar:tx.blocking_paranoia_level=2,setvar:tx.detection_paranoia_level=2,' +
          'setvar:tx.paranoia_level=2',
      ) +
      'SecRule REQUEST_METHOD "@streq GET" "id:8,phase:1,pass,nolog,t:none,' +
      'ctl:ruleRemoveById=901120,ctl:ruleRemoveById=942015"\n',
  },
]

const options = (one: Pick<Case, 'before' | 'after'>, name: string): RulesetOptions => {
  const write = (text: string | undefined, suffix: string): string[] => {
    if (text === undefined) return []
    const file = join(folder, `${name}-${suffix}.conf`)
    writeFileSync(file, text)
    return [file]
  }
  return {
    baseFile: join(root, 'waf/base.conf'),
    crsDirectory: crs,
    paranoia: null,
    setupFiles: write(one.before, 'before'),
    ruleFiles: write(one.after, 'after'),
  }
}

let tuned: Program | null = null
const tunedProgram = (): Program => {
  const ruleset = loadRuleset({ ...options({}, 'tuned'), tunable: true })
  const tunings = cases.map(({ tuning }) => tuning)
  tuned ??= compile(ruleset, compileScanPlan, defaultCompileLimits, tunings)
  return tuned
}

afterAll(() => {
  if (tuned !== null) dropPlans(tuned)
})

for (const [index, one] of cases.entries())
  test.runIf(crs)(
    `${one.name}: as written by hand`,
    () => {
      const byHand = new OfflineEngine(
        compile(loadRuleset(options(one, `case-${index}`)), compileScanPlan),
      )
      const configured = new OfflineEngine(tunedProgram(), { tuning: index })
      const all = requests()
      let hits = 0
      for (const request of all) {
        const expected = told(byHand.inspect(request))
        expect(told(configured.inspect(request)), request.target).toEqual(expected)
        hits += expected.ids.length
      }
      expect(all.length).toBeGreaterThan(200)
      expect(hits).toBeGreaterThan(200)
      byHand.close()
    },
    240_000,
  )

test.runIf(crs)('exclusions cost no plan, levels one each', () => {
  const program = tunedProgram()
  const byName = new Map(
    cases.map(({ name }, index) => [name, program.tunings?.[index]?.variant] as const),
  )
  expect(byName.get('rules by id and by tag')).toBe(0)
  expect(byName.get('targets')).toBe(0)
  expect(byName.get('paths and methods')).toBe(0)
  expect(byName.get('levels and thresholds')).not.toBe(0)
  expect(plansOf(program).length).toBeLessThanOrEqual(4)
})

function told({ verdict, matched, tx }: Inspected) {
  const ids = matched.map(({ rule }) => rule.id)
  // A chain that a guard holds back does not write down what nobody else reads.
  const shown = [...tx].filter(([name]) => !name.startsWith('header_name_'))
  return { verdict, ids, tx: Object.fromEntries(shown) }
}

interface YamlInput {
  readonly method?: string
  readonly uri?: string
  readonly headers?: Readonly<Record<string, string | number | null>>
  readonly data?: string
  readonly encoded_request?: string
}

let read: readonly OfflineRequest[] | null = null

/** The requests of every ninth case, those that are not raw bytes. */
function requests(): readonly OfflineRequest[] {
  if (crs === null) return []
  const directory = join(crs, 'tests')
  read ??= readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .toSorted()
    .flatMap((name): YamlInput[] => {
      const file = parse(readFileSync(join(directory, name), 'utf8'))
      return (file.tests ?? []).map(
        (one: { stages: { input: YamlInput }[] }) => one.stages[0]?.input,
      )
    })
    .filter((input, index) => index % every === 0 && input?.encoded_request === undefined)
    .map(requestOf)
  return read
}

function requestOf({
  method = 'GET',
  uri = '/',
  headers = {},
  data = '',
}: YamlInput): OfflineRequest {
  const fields = Object.entries(headers).map(([name, value]): [string, string] => [
    name,
    latin1(String(value ?? '')),
  ])
  const typed = fields.some(([name]) => name.toLowerCase() === 'content-type')
  if (data !== '' && !typed) fields.push(['Content-Type', 'application/x-www-form-urlencoded'])
  const body = data === '' ? null : new Uint8Array(Buffer.from(data))
  return { method, target: latin1(uri), headers: fields, body, timeMs: 0, uniqueId: 'same' }
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1')
}
