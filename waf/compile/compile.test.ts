import { expect, test } from 'vitest'
import type { LinkTest, Program } from '../program.ts'
import type { Leaf, ScanPlan, Target } from '../scan-plan.ts'
import { SecLangError } from '../seclang/faults.ts'
import { parseSecLang } from '../seclang/parser.ts'
import { compile, defaultCompileLimits } from './compile.ts'

interface Compiled {
  readonly program: Program
  readonly plan: ScanPlan
}

function compiled(text: string): Compiled {
  const plans: ScanPlan[] = []
  const program = compile(parseSecLang([{ file: 'test.conf', text }]), (json) => {
    plans.push(JSON.parse(json))
    return 1
  })
  const plan = plans[0]
  if (plan === undefined) throw new Error('no plan')
  return { program, plan }
}

function tests(program: Program): LinkTest[] {
  const rules = program.phases.flat().filter((item) => typeof item !== 'string')
  return rules.flatMap((rule) => rule.tests)
}

const kinds: readonly (readonly [string, LinkTest[], Partial<Leaf>[]])[] = [
  ['SecAction "id:1"', [{ kind: 'always' }], []],
  [
    'SecRule ARGS "@rx a" "id:1,t:none,t:lowercase,capture,multiMatch,phase:2"',
    [{ kind: 'scanned', leaf: 0 }],
    [
      {
        phase: 2,
        operator: 'rx',
        argument: 'a',
        transformations: ['lowercase'],
        capture: true,
        multiMatch: true,
        dynamic: false,
        textOnly: false,
        source: 'test.conf:1',
      },
    ],
  ],
  [
    'SecRule REQUEST_METHOD "!@within %{REQUEST_HEADERS.x}" "id:1"',
    [{ kind: 'dynamic', leaf: 0 }],
    [{ negated: true, dynamic: true, textOnly: false }],
  ],
  [
    'SecRule TX:a "@lt %{tx.b}" "id:1"',
    [{ kind: 'reasoned', leaf: 0, scannedLeaf: -1 }],
    [{ dynamic: true, textOnly: true }],
  ],
  [
    'SecRule TX:a|ARGS|!ARGS:b|!TX:c "@rx a" "id:1"',
    [{ kind: 'reasoned', leaf: 1, scannedLeaf: 0 }],
    [
      { textOnly: false, targets: [target('ARGS'), target('ARGS', 'b', true)] },
      { textOnly: true, targets: [] },
    ],
  ],
  [
    'SecRule TX:a "@unconditionalMatch" "id:1,t:sha1"',
    [{ kind: 'reasoned', leaf: 0, scannedLeaf: -1 }],
    [{ operator: 'unconditionalmatch', textOnly: true }],
  ],
  [
    'SecRule REMOTE_ADDR "@geoLookup" "id:1"',
    [{ kind: 'scanned', leaf: 0 }],
    [{ operator: 'nomatch' }],
  ],
  [
    `SecRule ARGS "@rx a" "id:1"
    SecRule ARGS "@rx a" "id:2,chain"
    SecRule ARGS "@rx b"
    SecRule ARGS "@rx a" "id:3,phase:1"`,
    [
      { kind: 'scanned', leaf: 2 },
      { kind: 'scanned', leaf: 0 },
      { kind: 'scanned', leaf: 0 },
      { kind: 'scanned', leaf: 1 },
    ],
    [{ argument: 'a', phase: 2 }, { argument: 'b' }, { argument: 'a', phase: 1 }],
  ],
]

function target(variable: string, name: string | null = null, exclude = false): Target {
  return { variable, name, namePattern: null, count: false, exclude }
}

for (const [text, expected, leaves] of kinds)
  test(`${text.split('\n')[0]} is ${expected[0]?.kind}`, () => {
    const { program, plan } = compiled(text)
    expect(tests(program)).toEqual(expected)
    expect(plan.leaves).toMatchObject(leaves)
    expect(plan.leaves.length).toBe(leaves.length)
  })

test('rules stand in their phase, markers in every phase', () => {
  const { program } = compiled(`SecAction "id:1,phase:1"
    SecMarker A
    SecRule ARGS a "id:2,phase:2"
    SecRule TX:a a "id:3,phase:3"`)
  const shown = program.phases.map((items) =>
    items.map((item) => (typeof item === 'string' ? item : item.rule.id)),
  )
  expect(shown).toEqual([[], [1, 'A'], ['A', 2], ['A', 3], ['A'], ['A']])
  expect(program.scans).toEqual([false, false, true, false, false, false])
})

test('a macro that no request can change is written into its leaf', () => {
  const settled = compiled(`SecAction "id:1,phase:1,pass,nolog,setvar:tx.methods=GET POST"
    SecRule REQUEST_METHOD "!@within %{tx.methods}" "id:2,phase:1"`)
  expect(settled.plan.leaves).toMatchObject([{ argument: 'GET POST', dynamic: false }])
  expect(tests(settled.program)).toContainEqual({ kind: 'scanned', leaf: 0 })
  const changing = compiled(`SecAction "id:1,phase:1,pass,nolog,setvar:tx.methods=GET POST"
    SecRule ARGS:m "@rx a" "id:3,phase:1,setvar:tx.methods=PUT"
    SecRule REQUEST_METHOD "!@within %{tx.methods}" "id:2,phase:1"`)
  expect(changing.plan.leaves[1]).toMatchObject({ argument: '%{tx.methods}', dynamic: true })
})

test('what only another paranoia level asks for is not scanned', () => {
  const { plan } = compiled(`SecAction "id:1,phase:1,pass,nolog,setvar:tx.level=1"
    SecRule TX:level "@lt 2" "id:2,phase:1,pass,nolog,skipAfter:END"
    SecRule ARGS "@rx a" "id:3,phase:1"
    SecMarker END
    SecRule ARGS "@rx b" "id:4,phase:1"`)
  const scanned = plan.leaves.filter((leaf) => !leaf.textOnly).map((leaf) => leaf.idle ?? false)
  expect(scanned).toEqual([true, false])
})

test('the plan carries the settings', () => {
  const { plan } = compiled(`SecArgumentSeparator ;
    SecArgumentsLimit 5
    SecRequestBodyJsonDepthLimit 6
    SecRequestBodyLimit 7
    SecRequestBodyNoFilesLimit 8
    SecRequestBodyAccess Off
    SecResponseBodyAccess On`)
  expect(plan).toEqual({
    leaves: [],
    limits: {
      ...defaultCompileLimits,
      argumentsMax: 5,
      jsonDepthMax: 6,
      bodyBytesMax: 7,
      bodyOverLimit: 'reject',
      noFilesBytesMax: 8,
    },
    argumentSeparator: ';',
    requestBodyAccess: false,
    responseBodyAccess: true,
  })
})

const refusals = [
  ['a.conf:2: unbalanced (', [{ file: 'a.conf', line: 2, message: 'unbalanced (' }]],
  ['a.conf:2: x\na.conf:1: y', [{ line: 2 }, { line: 1, message: 'y' }]],
  ['out of memory', [{ file: 'scan plan', message: 'out of memory' }]],
] as const

for (const [reason, expected] of refusals)
  test(`the addon's "${reason.replace('\n', ' / ')}" is ${expected.length} faults`, () => {
    const text = 'SecRule ARGS "@rx a" "id:1"\nSecRule ARGS "@rx b" "id:2"'
    const ruleset = parseSecLang([{ file: 'a.conf', text }])
    const run = (): unknown =>
      compile(ruleset, () => {
        throw new Error(reason)
      })
    expect(run).toThrow(SecLangError)
    expect(run).toThrow(expect.objectContaining({ faults: expected.map(partly) }))
  })

function partly(fault: object): unknown {
  return expect.objectContaining(fault)
}

test('every worker is given each rule once', () => {
  const { program } = compiled('SecRule ARGS "@rx a" "id:4711,phase:2"')
  expect(JSON.stringify(program).split('"id":4711')).toHaveLength(2)
})
