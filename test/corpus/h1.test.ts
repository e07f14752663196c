/** The h1 corpus against the real program: each case refused, or forwarded as one clear request. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import type { Case } from './case.ts'
import { chunks } from './h1/chunks.ts'
import { connections } from './h1/connections.ts'
import { fields } from './h1/fields.ts'
import { framing } from './h1/framing.ts'
import { startLine } from './h1/start-line.ts'
import { Recorder } from './recorder.ts'
import { type Pieces, runCase } from './run-case.ts'

const classes: readonly (readonly [string, readonly Case[]])[] = [
  ['framing', framing],
  ['chunks', chunks],
  ['request lines and targets', startLine],
  ['fields', fields],
  ['connections and limits', connections],
]

const recorder = new Recorder()
let backendUrl = ''
let edge: RunningEdge

beforeAll(async () => {
  backendUrl = await recorder.start()
  edge = await startEdge({ arguments: ['--backend', backendUrl, '--waf', 'off', '--no-redirect'] })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  recorder.close()
})

async function faults(cases: readonly Case[], pieces: Pieces, tls = false): Promise<string[]> {
  const found: string[] = []
  const target = { port: tls ? edge.httpsPort : edge.httpPort, tls }
  for (const made of cases) {
    const wrong = await runCase(made, { edge: target, recorder, pieces })
    if (wrong.length > 0) found.push(`${made.id}: ${wrong.join('; ')}`)
  }
  return found
}

test('the corpus has at least 250 malformed or ambiguous requests, each with its own id', () => {
  const cases = classes.flatMap(([, all]) => all)
  const isOdd = (made: Case) => made.requests.length === 0 || made.why !== undefined
  const odd = cases.filter(isOdd)
  expect(odd.length).toBeGreaterThanOrEqual(250)
  expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length)
})

test('the judge reports every refused case where nothing stands before the backend', async () => {
  const port = Number(new URL(backendUrl).port)
  const refused = classes.flatMap(([, all]) => all).filter((made) => made.requests.length === 0)
  const unnoticed: string[] = []
  for (const made of refused) {
    const wrong = await runCase(made, { edge: { port }, recorder, patienceMs: 100 })
    if (wrong.length === 0) unnoticed.push(made.id)
  }
  expect(unnoticed).toEqual([])
}, 60_000)

describe.each(classes)('%s', (_name, cases) => {
  test('in one write', async () => expect(await faults(cases, 'whole')).toEqual([]), 60_000)
  test('in two writes', async () => expect(await faults(cases, 'halves')).toEqual([]), 60_000)
  test(
    'in many small writes',
    async () => expect(await faults(cases, 'crumbs')).toEqual([]),
    60_000,
  )
})

test('the framing cases over TLS', async () => {
  expect(await faults([...framing, ...chunks], 'whole', true)).toEqual([])
}, 60_000)
