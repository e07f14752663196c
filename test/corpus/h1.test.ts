/** The h1 corpus against the real program: each case refused, or forwarded as one clear request. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { allCases, classes } from './all-cases.ts'
import type { Case } from './case.ts'
import { Recorder } from './recorder.ts'
import { type Pieces, runCase } from './run-case.ts'

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
  const isOdd = (made: Case) => made.requests.length === 0 || made.why !== undefined
  const odd = allCases.filter(isOdd)
  expect(odd.length).toBeGreaterThanOrEqual(250)
  expect(new Set(allCases.map(({ id }) => id)).size).toBe(allCases.length)
})

test('the judge reports every refused case where nothing stands before the backend', async () => {
  const port = Number(new URL(backendUrl).port)
  const refused = allCases.filter((made) => made.requests.length === 0)
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

test('the framing and chunk cases over TLS', async () => {
  const bodies = classes.slice(0, 2).flatMap(([, cases]) => cases)
  expect(await faults(bodies, 'whole', true)).toEqual([])
}, 60_000)
