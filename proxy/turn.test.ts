import { expect, test } from 'vitest'
import type { AccessEntry } from './access-log.ts'
import { edge, inspection } from './edge.fixture.ts'
import { errorCodes } from './errors.ts'
import { type EncodedRecord, encodeBatch, headRecord, known } from './request.fixture.ts'
import type { Route } from './route.ts'
import { Router } from './router.ts'
import type { Edge } from './serve.ts'
import { Turn } from './turn.ts'
import { quiet } from './waf-service/answer.fixture.ts'

interface Played {
  /** Kind and exchange of each plan of each answer. */
  readonly answers: string[][]
  readonly entries: AccessEntry[]
  readonly failures: string[]
  /** Phase and time of each inspection; the clock ticks once a look. */
  readonly inspected: [phase: number, milliseconds: number][]
}

/** `between` runs before each batch is taken, from the second one on. */
function play(
  batches: readonly (readonly EncodedRecord[])[],
  changes: Partial<Edge> = {},
  between: (turn: Turn) => void = () => undefined,
  onReleased: (edge: Edge) => void = () => undefined,
): Played {
  const waiting = batches.map((records) => encodeBatch(records))
  const played: Played = { answers: [], entries: [], failures: [], inspected: [] }
  let ticks = 0
  const turn = new Turn({
    port: {
      take(out) {
        const next = waiting[0]
        if (next === undefined) return 0
        if (next.length > out.length) return -next.length
        out.set(next)
        if (waiting.length < batches.length) between(turn)
        waiting.shift()
        return next.length
      },
      answer: (plans, length) => played.answers.push(plansOf(Buffer.from(plans.slice(0, length)))),
    },
    known,
    edge: edge({ router: new Router<Route>([]), ...changes }),
    now: () => 0,
    clock: () => (ticks += 1),
    onHead: () => undefined,
    onEntry: (entry) => played.entries.push(entry),
    onInspected: (phase, milliseconds) => played.inspected.push([phase, milliseconds]),
    onReleased,
    onFailure: (error) => played.failures.push(String(error)),
  })
  turn.run()
  return played
}

/** Reads only what these tests make: respond (1), done (6) and ask (7). */
function plansOf(bytes: Buffer): string[] {
  const plans: string[] = []
  let at = 0
  while (at < bytes.length) {
    const kind = bytes.readUInt8(at)
    const id = bytes.readUInt32LE(at + 1)
    at += 5
    if (kind === 6) {
      plans.push(`done ${id}`)
      continue
    }
    if (kind === 7) {
      plans.push(`ask ${id}`)
      at += 6 + bytes.readUInt32LE(at + 2)
      continue
    }
    expect(kind).toBe(1)
    plans.push(`respond ${id} ${bytes.readUInt16LE(at)}`)
    const count = bytes.readUInt16LE(at + 3)
    at += 5
    for (let index = 0; index < count; index += 1) {
      at += 2 + bytes.readUInt16LE(at)
      at += 4 + bytes.readUInt32LE(at)
    }
    at += 4 + bytes.readUInt32LE(at)
  }
  return plans
}

const outcomeOf = (id: number): EncodedRecord => [
  [3, id, 404, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 0, 0],
  '',
]

test('one answer for each batch, in its order, and one entry for each outcome', () => {
  const played = play([
    [headRecord({ id: 1 }), headRecord({ id: 2 })],
    [outcomeOf(2), outcomeOf(1), headRecord({ id: 3 })],
  ])
  expect(played.answers).toEqual([
    ['respond 1 404', 'respond 2 404'],
    ['done 2', 'done 1', 'respond 3 404'],
  ])
  expect(played.entries.map(({ error }) => error)).toEqual(['NO_ROUTE', 'NO_ROUTE'])
})

test('an orphan is logged and never answered', () => {
  const played = play([[headRecord({ id: 1, flags: 16 }), outcomeOf(1)]])
  expect(played.answers).toEqual([['done 1']])
  expect(played.entries).toHaveLength(1)
})

test('a refusal of the wire is logged with its first line', () => {
  const played = play([[[[6, 0, 11, 0, 400, 7, 9, 11], '192.0.2.9GET /x?a=1 ']]])
  expect(played.answers).toEqual([])
  expect(played.entries).toMatchObject([
    { method: 'GET', path: '/x', query: 'a=1', status: 400, error: 'BAD_REQUEST' },
  ])
})

test('a failure costs one exchange, is told, and never passes', () => {
  const router = {
    match: () => {
      throw new Error('broken')
    },
  }
  // oxlint-disable-next-line no-unsafe-type-assertion -- only `match` is ever called
  const broken = { router: router as unknown as Edge['router'] }
  const played = play([[headRecord({ id: 1 }), headRecord({ id: 2 })]], broken)
  expect(played.answers).toEqual([['respond 1 503', 'respond 2 503']])
  expect(played.failures).toEqual(['Error: broken', 'Error: broken'])
})

test('a batch larger than the buffer is taken with a larger one', () => {
  const headers = [['x-long', 'x'.repeat(400_000)]] as const
  expect(play([[headRecord({ id: 1, headers })]]).answers).toEqual([['respond 1 404']])
})

test('a record for an exchange that is gone is passed over', () =>
  expect(play([[[[2, 9, 0, 1], '']]]).answers).toEqual([]))

test('an exchange is concluded by the snapshot it began with, which is released then', () => {
  const released: (readonly string[])[] = []
  const played = play(
    [
      [headRecord({ id: 1 }), headRecord({ id: 2 })],
      [headRecord({ id: 3 }), outcomeOf(1), outcomeOf(3)],
      [outcomeOf(2)],
    ],
    { listeners: ['old'] },
    (turn) => turn.swap(edge({ router: new Router<Route>([]), listeners: ['new'] })),
    ({ listeners }) => released.push(listeners),
  )
  expect(played.entries.map(({ listener }) => listener)).toEqual(['old', 'new', 'old'])
  // The second snapshot was replaced when it had no exchange left; the third one is in force.
  expect(released).toEqual([['new'], ['old']])
})

test('where a service inspects, the time until its answer counts, and silence does not', () => {
  const verdict = { action: 'deny', status: 406, ruleId: 7, phase: 2 }
  const text = JSON.stringify({ ...quiet, verdict })
  const played = play(
    [
      [headRecord({ id: 1 }), headRecord({ id: 2 })],
      [
        [[7, 1, 0, text.length], text],
        [[7, 2, errorCodes.indexOf('WAF_SERVICE_TIMEOUT') + 1, 0], ''],
      ],
    ],
    {
      service: { variants: ['one'], log: null, audit: null },
      unrouted: { ...inspection, mode: 'block' },
    },
  )
  expect(played.answers).toEqual([
    ['ask 1', 'ask 2'],
    ['respond 1 406', 'respond 2 503'],
  ])
  // Asked at the first tick; the second exchange was looked at in between.
  expect(played.inspected).toEqual([[1, 2]])
})
