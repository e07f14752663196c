import { expect, test } from 'vitest'
import { differences, shrink } from './compare.ts'
import { covers, readDecisions } from './decisions.ts'
import { Draw } from './draw.ts'
import { matchesOf } from './engines.ts'
import type { Contender } from './engines.ts'
import { generate } from './generate.ts'
import { assemble } from './request.ts'
import type { Parts } from './request.ts'

const material = {
  attacks: ["' or 1=1", '<script>', '../../x\0\r\n'],
  benign: ['one', 'caf\xc3\xa9'],
}

function generated(seed: number, count: number): Parts[] {
  const draw = new Draw(seed)
  return draw.several(count, () => generate(material, draw))
}

const line = (id: number, variable = 'ARGS:a', value = 'v'): string =>
  `Matched "Operator \`Rx' with parameter \`.' against variable \`${variable}' ` +
  `(Value: \`${value}' ) [id "${id}"]`

test('a seed gives the same requests, another seed others', () => {
  expect(generated(1, 50)).toEqual(generated(1, 50))
  expect(generated(1, 50)).not.toEqual(generated(2, 50))
})

test('every request can be sent: its line and its fields are one line each', () => {
  for (const parts of generated(3, 2_000)) {
    const { method, target, headers, body } = assemble(parts)
    expect(method).toMatch(/^[A-Za-z]+$/)
    expect(target).toMatch(/^\/[!-~]*$/)
    for (const [name, value] of headers) {
      expect(name).toMatch(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/)
      expect(value).not.toMatch(/[\0\r\n]|^\s|\s$/)
    }
    const length = headers.find(([name]) => name === 'Content-Length')?.[1] ?? '0'
    expect(length).toBe(String(body?.length ?? 0))
  }
})

test('all kinds of bodies come up', () => {
  const kinds = new Set(generated(4, 500).map(({ kind }) => kind))
  expect(kinds).toEqual(new Set(['form', 'json', 'multipart', null, 'text', 'xml']))
})

test('a log line tells id, variable and value; the first of a rule counts', () => {
  const matches = matchesOf([line(5), line(5, 'ARGS:b'), 'no rule', line(6, 'TX:1', "it's")])
  expect([...matches.values()]).toEqual([
    { id: 5, variable: 'ARGS:a', value: 'v' },
    { id: 6, variable: 'TX:1', value: "it's" },
  ])
})

test('sums count only when nothing else differs', () => {
  const request = { method: 'GET', target: '/', headers: [], body: null }
  const ids = (ours: number[], theirs: number[]): string[] =>
    differences(
      request,
      matchesOf(ours.map((id) => line(id))),
      matchesOf(theirs.map((id) => line(id))),
    ).map(({ only, match }) => `${match.id} ${only}`)
  expect(ids([1, 2, 949_110], [2, 3])).toEqual(['1 ours', '3 theirs'])
  expect(ids([949_110], [])).toEqual(['949110 ours'])
  expect(ids([1], [1])).toEqual([])
  expect(differences(request, 'refused', matchesOf([line(1)]))).toEqual([])
})

test('shrinking keeps what the difference needs, and nothing else', async () => {
  const engine = (words: readonly string[]): Contender => ({
    ask: ({ target }) =>
      Promise.resolve(matchesOf(words.every((word) => target.includes(word)) ? [line(7)] : [])),
    close: () => Promise.resolve(),
  })
  const [parts] = generated(5, 1)
  if (parts === undefined) throw new Error('no request')
  const large: Parts = {
    ...parts,
    path: '/a/b',
    tail: '',
    query: [
      ['k', 'xxneedlexx'],
      ['l', 'm'],
    ],
  }
  const engines = [engine(['needle']), engine(['needle', 'never'])] as const
  const [wanted] = differences(assemble(large), matchesOf([line(7)]), matchesOf([]))
  if (wanted === undefined) throw new Error('no difference')
  const { headers, target } = assemble(await shrink(large, wanted, engines))
  expect(target.replace(/^\/\??/, '').length).toBeLessThanOrEqual('k=needle'.length)
  expect(target).toContain('needle')
  expect(headers).toEqual([])
})

test('decisions are whole, named once, and cover what they say', () => {
  const decisions = readDecisions()
  expect(new Set(decisions.map(({ name }) => name)).size).toBe(decisions.length)
  const trace = decisions.find(({ name }) => name === 'TRACE at the front')
  const request = { method: 'TRACE', target: '/', headers: [], body: null }
  const match = { id: 911_100, variable: 'REQUEST_METHOD', value: 'TRACE' }
  const difference = { only: 'ours', match, request, isBroken: false } as const
  expect(trace && covers(trace, difference)).toBe(true)
  expect(trace && covers(trace, { ...difference, only: 'theirs' })).toBe(false)
  const get = { ...request, method: 'GET' }
  expect(trace && covers(trace, { ...difference, request: get })).toBe(false)
  const broken = decisions.find(({ name }) => name === 'XML that does not parse')
  const headers: [string, string][] = [['Content-Type', 'text/xml']]
  const xml = {
    only: 'theirs',
    match: { id: 933_190, variable: 'XML:/*', value: '?>' },
    request: { ...request, headers },
  } as const
  expect(broken && covers(broken, { ...xml, isBroken: true })).toBe(true)
  expect(broken && covers(broken, { ...xml, isBroken: false })).toBe(false)
})
