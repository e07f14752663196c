import { expect, test } from 'vitest'
import { ConfigError, faultText } from './faults.ts'
import { parseConfig } from './parse.ts'

function parsed(text: string) {
  return parseConfig({
    file: { path: '/etc/edge/edge.yaml', name: 'edge.yaml', text },
    env: {},
    flags: [],
    folder: '/srv',
    processors: 2,
    installedRules: null,
  })
}

test('a route takes what is global, and exclusions add up', () => {
  const config = parsed(`waf:
  paranoia: 2
  exclusions: [{rules: [942100], targets: [ARGS:q]}]
routes:
  - name: r
    upstream: default
    waf:
      inboundThreshold: 20
      exclusions:
        - rules: [920350, "942200-942299", "932 - 933"]
          tags: [attack-sqli]
          targets: ["ARGS:/^item\\\\./", "xml:/*", REQUEST_COOKIES]
          paths: [/search, "/api/*"]
          methods: [POST]
          reason: free text
`)
  if (config instanceof ConfigError) throw config
  const { waf, routes } = config.config
  expect(waf).toMatchObject({ paranoia: 2, detectionParanoia: null, inboundThreshold: null })
  expect(waf.exclusions[0]).toMatchObject({ rules: [{ first: 942_100, last: 942_100 }], paths: [] })
  expect(routes[0]?.waf).toMatchObject({ mode: 'block', paranoia: null, inboundThreshold: 20 })
  expect(routes[0]?.waf.exclusions[0]).toEqual({
    rules: [
      { first: 920_350, last: 920_350 },
      { first: 942_200, last: 942_299 },
      { first: 932, last: 933 },
    ],
    tags: ['attack-sqli'],
    targets: [String.raw`ARGS:/^item\./`, 'xml:/*', 'REQUEST_COOKIES'],
    paths: ['/search', '/api/*'],
    methods: ['POST'],
    reason: 'free text',
  })
})

const wrong: readonly (readonly [exclusion: string, fault: string])[] = [
  ['{targets: [ARGS]}', 'edge.yaml:3:7: the exclusion names no rules\n  mend: add rules: or tags:'],
  [
    '{rules: [942299-942200]}',
    'edge.yaml:3:16: waf.exclusions[0].rules[0]: "942299-942200" is no rule id or range of ids\n' +
      '  mend: write an id such as 942100, or a range such as "942200-942299"',
  ],
  ['{rules: [0]}', 'edge.yaml:3:16: waf.exclusions[0].rules[0]: "0" is no rule id'],
  ['{rules: [1], targets: ["!ARGS:a"]}', '"!ARGS:a" is no target: write it without !'],
  ['{rules: [1], targets: ["ARGZ:a"]}', '"ARGZ:a" is no target: "ARGZ" is no variable'],
  ['{rules: [1], targets: ["REQUEST_URI:a"]}', 'REQUEST_URI has no members'],
  ['{rules: [1], targets: ["ARGS:"]}', 'the name after ARGS: is missing'],
  [
    '{rules: [1], targets: ["ARGS:/(/"]}',
    'edge.yaml:3:30: waf.exclusions[0].targets[0]: "ARGS:/(/"',
  ],
  ['{rules: [1], paths: ["a"]}', '"a" is not a path\n  mend: write the whole path'],
  ['{rules: [1], paths: ["/a?b"]}', '"/a?b" is not a path'],
  ['{rules: [1], paths: ["/*/b"]}', '"/*/b" is not a path'],
  ['{rules: [1], methods: [get]}', '"get" is not a method'],
  ['{rules: [1], target: [ARGS]}', 'did you mean "targets"?'],
]

for (const [exclusion, fault] of wrong)
  test(`${exclusion} is refused with its place`, () => {
    const config = parsed(`waf:\n  exclusions:\n    - ${exclusion}\n`)
    const faults = config instanceof ConfigError ? config.faults.map(faultText) : []
    expect(faults).toEqual([expect.stringContaining(fault)])
    expect(faults[0]).toMatch(/^edge\.yaml:3:\d+: /)
  })

test('a detection level below the blocking one is refused', () => {
  const config = parsed('waf:\n  paranoia: 3\n  detectionParanoia: 2\n')
  const faults = config instanceof ConfigError ? config.faults.map(faultText) : []
  expect(faults).toEqual([
    'edge.yaml:3:22: detectionParanoia 2 is less than paranoia 3\n' +
      '  mend: write 3 to 4, or remove it',
  ])
})
