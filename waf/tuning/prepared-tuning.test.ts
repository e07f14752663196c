import { expect, test } from 'vitest'
import type { Rule } from '../rule.ts'
import { fixture } from '../testing/fixture.ts'
import { PreparedExclusions } from './prepared-tuning.ts'
import type { Exclusion } from './tuning.ts'
import { rulesOf } from './tuned-program.ts'

const { program } = fixture(
  [
    { id: 1, links: [['ARGS', '@rx a']], tags: ['x'] },
    { id: 2, links: [['ARGS', '@rx b']], tags: ['x', 'y'] },
    { id: 3, links: [['', '@unconditionalMatch']] },
  ],
  {},
)
const rules: readonly Rule[] = rulesOf(program)

function excluding(...given: readonly Partial<Exclusion>[]): PreparedExclusions {
  const nothing = { rules: [], tags: [], targets: [], paths: [], methods: [], reason: '' }
  return new PreparedExclusions(
    given.map((one) => ({ ...nothing, ...one })),
    rules,
  )
}

const ids = (exclusions: PreparedExclusions, path: string, method = 'GET'): number[] =>
  [...exclusions.for({ path, method }).rules]
    .map(({ id }) => id)
    .toSorted((one, other) => one - other)

const all = { first: 1, last: 9 }

const removals: readonly (readonly [string, Partial<Exclusion>, readonly number[]])[] = [
  ['a range', { rules: [all] }, [1, 2, 3]],
  ['a tag', { tags: ['y'] }, [2]],
  ['a range and a tag', { rules: [{ first: 1, last: 1 }], tags: ['y'] }, [1, 2]],
  ['the path', { rules: [{ first: 1, last: 1 }], paths: ['/a'] }, [1]],
  ['another path', { rules: [all], paths: ['/b', '/a/'] }, []],
  ['the beginning of the path', { tags: ['y'], paths: ['/*'] }, [2]],
  ['the method', { tags: ['y'], methods: ['GET'] }, [2]],
  ['another method', { tags: ['y'], methods: ['POST'], paths: ['/a'] }, []],
  ['a path, and a SecAction by id', { rules: [all], paths: ['/a'] }, [1, 2]],
]

for (const [name, exclusion, expected] of removals)
  test(`${name} takes out ${expected.join() || 'nothing'}`, () =>
    expect(ids(excluding(exclusion), '/a')).toEqual(expected))

test('exclusions add up, and a combination is made once', () => {
  const both = excluding(
    { rules: [{ first: 3, last: 3 }] },
    { tags: ['y'], paths: ['/a'] },
    { rules: [{ first: 1, last: 1 }], methods: ['GET'] },
  )
  expect(ids(both, '/a')).toEqual([1, 2, 3])
  expect(ids(both, '/a', 'PUT')).toEqual([2, 3])
  expect(ids(both, '/b', 'PUT')).toEqual([3])
  const request = { path: '/a', method: 'GET' }
  expect(both.for(request)).toBe(both.for({ ...request }))
})

const hidden: readonly (readonly [target: string, name: string, value: boolean])[] = [
  ['ARGS', 'any', true],
  ['ARGS:Id', 'iD', true],
  ['ARGS:id', 'idx', false],
  ["ARGS:'a b'", 'a b', true],
  ['args:/^id/', 'IDX', true],
  ['ARGS:/^id$/', 'idx', false],
  ['ARGS_NAMES', 'id', false],
]

for (const [target, name, expected] of hidden)
  test(`${target} ${expected ? 'hides' : 'shows'} ARGS:${name}`, () => {
    const exclusions = excluding({ rules: [all], targets: [target] })
    const { rules: gone, targets } = exclusions.for({ path: '/', method: 'GET' })
    expect([...targets.keys()]).toEqual(rules)
    expect(gone.size).toBe(0)
    const [test] = targets.values()
    expect(test?.({ variable: 'ARGS', name, value: '' })).toBe(expected)
  })

test('of XML everything is hidden', () => {
  const { targets } = excluding({ rules: [all], targets: ['XML:/*'] }).for({
    path: '/',
    method: '',
  })
  const [test] = targets.values()
  expect(test?.({ variable: 'XML', name: null, value: '' })).toBe(true)
})
