import { expect, test } from 'vitest'
import { parseSecLang } from '../seclang/parser.ts'
import { blocking, evidence, match, value } from './evidence.fixture.ts'
import type { LinkEvidence, MatchEvidence } from './evidence.ts'
import { narrowest } from './exclusion.ts'
import { asHelm, asSecRule, asYaml } from './exclusion-text.ts'

const scope = { route: 'shop', path: '/search', reason: 'edge explain r' }

function points(ruleId: number, before: number, after: number, level = 1): MatchEvidence {
  const name = `tx.inbound_anomaly_score_pl${level}`
  return match({ ruleId, changes: [{ name, before: String(before), after: String(after) }] })
}

/** The ctl actions of the exclusion, without `ctl:`. */
function controls(matches: readonly MatchEvidence[], filename = '/search'): string[] {
  const exclusion = narrowest({ ...evidence(matches), filename })
  if (exclusion === null) return []
  return [...asSecRule(exclusion, scope).matchAll(/ctl:(.*?)(?:,\\\n|"$)/gm)].map(
    ([, one]) => one ?? '',
  )
}

function link(changes: Partial<LinkEvidence>): LinkEvidence {
  const [head] = match().links
  if (head === undefined) throw new Error('the fixture has a link')
  return { ...head, ...changes }
}

const scalar = (variable: string) => value({ variable, collection: variable, name: null })

test('one variable of one rule is excluded', () => {
  expect(controls([match(), blocking])).toEqual(['ruleRemoveTargetById=942100;ARGS:q'])
})

test('rules whose points stay below the threshold go on counting', () => {
  const matches = [points(1, 0, 3), points(2, 3, 8), points(3, 8, 13), blocking]
  expect(controls(matches)).toEqual([
    'ruleRemoveTargetById=2;ARGS:q',
    'ruleRemoveTargetById=3;ARGS:q',
  ])
  expect(narrowest(evidence(matches))?.tolerated).toEqual([1])
})

test('rules above the blocking paranoia level count for nothing', () => {
  const matches = [points(1, 0, 5), points(2, 0, 5, 2), blocking]
  expect(controls(matches)).toEqual(['ruleRemoveTargetById=1;ARGS:q'])
})

test('the outbound score has its own rules', () => {
  const outbound = match({
    ruleId: 951_100,
    changes: [{ name: 'tx.outbound_anomaly_score_pl1', before: '0', after: '4' }],
  })
  const stop = match({
    ...blocking,
    ruleId: 959_100,
    links: blocking.links.map((one) => ({
      ...one,
      argument: '4',
      values: one.values.map((tx) => ({ ...tx, name: 'BLOCKING_OUTBOUND_ANOMALY_SCORE' })),
    })),
  })
  expect(controls([points(1, 0, 3), outbound, stop])).toEqual([
    'ruleRemoveTargetById=951100;ARGS:q',
  ])
})

test('a rule that denies by itself is excluded; in detection mode every such rule', () => {
  const deny = match({ ruleId: 7, disruptive: 'deny', interruption: 'deny', changes: [] })
  expect(controls([points(1, 0, 5), deny])).toEqual(['ruleRemoveTargetById=7;ARGS:q'])
  const detected = [
    { ...deny, interruption: null },
    { ...deny, ruleId: 8, interruption: null },
  ]
  expect(controls(detected)).toEqual([
    'ruleRemoveTargetById=7;ARGS:q',
    'ruleRemoveTargetById=8;ARGS:q',
  ])
})

test('nothing is excluded where nothing was stopped', () => {
  expect(narrowest(evidence([match()]))).toBe(null)
})

const wholes = [
  ['reads one scalar only', { targets: ['REQUEST_LINE'], values: [scalar('REQUEST_LINE')] }],
  ['counts', { targets: ['&ARGS:q'], values: [value({ variable: 'ARGS', name: null })] }],
  ['reads nothing', { targets: [], values: [] }],
] as const

for (const [what, changes] of wholes) {
  test(`a rule that ${what} goes as a whole, for this path and method`, () => {
    const matches = [match({ links: [link(changes)] }), blocking]
    expect(controls(matches)).toEqual(['ruleRemoveById=942100'])
    const exclusion = narrowest(evidence(matches))
    if (exclusion === null) throw new Error('there is an exclusion')
    expect(asSecRule(exclusion, scope)).toContain('# 942100 goes as a whole: ')
    expect(asYaml(exclusion, scope)).not.toContain('targets:')
  })
}

test('of a rule that reads more than the scalar that matched, only the scalar goes', () => {
  const targets = ['REQUEST_URI', 'ARGS', '!ARGS:x']
  const matches = [match({ links: [link({ targets, values: [scalar('REQUEST_URI')] })] }), blocking]
  expect(controls(matches)).toEqual(['ruleRemoveTargetById=942100;REQUEST_URI'])
})

test('of a chain the first link is told', () => {
  const chain = [link({}), link({ values: [value({ variable: 'ARGS:other', name: 'other' })] })]
  expect(controls([match({ links: chain }), blocking])).toEqual([
    'ruleRemoveTargetById=942100;ARGS:q',
  ])
})

test('where not all values are told, the collection goes, and it is said', () => {
  const matches = [match({ links: [link({ valuesLeftOut: 9 })] }), blocking]
  expect(controls(matches)).toEqual(['ruleRemoveTargetById=942100;ARGS'])
})

const names = [
  ['a.b[c]-d_e', 'a.b[c]-d_e'],
  ['x y', String.raw`/^x\x20y$/`],
  ['a\'b,c|d;e"', String.raw`/^a\x27b\x2cc\x7cd\x3be\x22$/`],
  ['/x/', String.raw`/^\x2fx\x2f$/`],
  ['\u00ff\n%{tx.a}', String.raw`/^\xff\x0a\x25\x7btx\.a\x7d$/`],
  ['n'.repeat(256), `/^${'n'.repeat(256)}/`],
  ["'".repeat(200), `/^${String.raw`\x27`.repeat(100)}/`],
] as const

for (const [name, target] of names) {
  test(`the argument ${JSON.stringify(name.slice(0, 20))} cannot be taken for syntax`, () => {
    const values = [value({ variable: `ARGS:${name}`, name })]
    const matches = [match({ links: [link({ values })] }), blocking]
    expect(controls(matches)).toEqual([`ruleRemoveTargetById=942100;ARGS:${target}`])
    const exclusion = narrowest(evidence(matches))
    if (exclusion === null) throw new Error('there is an exclusion')
    const text = asSecRule(exclusion, scope)
    expect(() => parseSecLang([{ file: 'pasted.conf', text }], [])).not.toThrow()
  })
}

test('a path that is no plain word is compared byte by byte', () => {
  const exclusion = narrowest({ ...evidence(), filename: '/a b/"%{TX.0}\u00e9' })
  if (exclusion === null) throw new Error('there is an exclusion')
  const text = asSecRule(exclusion, scope)
  expect(text).toContain(String.raw`"@rx \A/a\x20b/\x22\x25\x7bTX\.0\x7d\xe9\z"`)
  expect(() => parseSecLang([{ file: 'pasted.conf', text }], [])).not.toThrow()
})

test('edge.yaml and Helm values name route, path and method', () => {
  const matches = [points(1, 0, 5), points(2, 5, 10), blocking]
  const exclusion = narrowest(evidence(matches))
  if (exclusion === null) throw new Error('there is an exclusion')
  expect(asYaml(exclusion, scope)).toBe(`# edge explain r
routes:
  - name: "shop"
    waf:
      exclusions:
        - rules: [1, 2]
          targets: ["ARGS:q"]
          paths: ["/search"]
          methods: ["GET"]
          reason: "edge explain r"`)
  expect(asHelm(exclusion, { ...scope, route: null })).toBe(`# edge explain r
config:
  waf:
    exclusions:
      - rules: [1, 2]
        targets: ["ARGS:q"]
        paths: ["/search"]
        methods: ["GET"]
        reason: "edge explain r"`)
})

test('a path that was cut becomes a prefix', () => {
  const exclusion = narrowest(evidence())
  if (exclusion === null) throw new Error('there is an exclusion')
  expect(asYaml(exclusion, { ...scope, path: '/long…' })).toContain('paths: ["/long*"]')
})
