/** When an agent of a large mesh reports, and what it makes of a greeting that comes again. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { CoordinatorClient, StreamEvent } from './client.ts'
import type { Delta } from './entry.ts'
import { Follower } from './following.ts'
import { meshLimits } from './limits.ts'
import { emptyView, noHash } from './view.ts'

beforeEach(() => vi.useFakeTimers({ now: 0 }))
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const change = (from: number): StreamEvent => {
  const delta: Delta = { from, to: from + 1, hash: noHash, upsert: [], remove: [] }
  return { kind: 'delta', delta }
}

/** A follower of a stream to which events are given one by one. */
function following() {
  const reported: number[] = []
  const connected: string[] = []
  let give: (event: StreamEvent) => void = () => undefined
  const client: Pick<CoordinatorClient, 'watch' | 'report'> = {
    async *watch() {
      for (;;) yield await new Promise<StreamEvent>((resolve) => (give = resolve))
    },
    report: async ({ applied }) => void reported.push(applied),
  }
  const log = {
    info: (_: object, text: string) => void connected.push(text),
    warn: () => undefined,
    error: () => undefined,
  }
  const follower = new Follower({
    client: client as CoordinatorClient,
    self: { id: 'own', name: 'own' },
    url: 'https://x',
    log,
    view: emptyView,
    apply: async () => undefined,
    announce: async () => undefined,
  })
  const ending = new AbortController()
  void follower.run(ending.signal)
  const tell = async (event: StreamEvent): Promise<void> => {
    await vi.advanceTimersByTimeAsync(1)
    give(event)
    await vi.advanceTimersByTimeAsync(1)
  }
  return { reported, connected, tell, end: () => ending.abort() }
}

const hello = (spreadMs: number): StreamEvent => ({ kind: 'hello', spreadMs, pingMs: 15_000 })

test('in a small mesh each change is reported at once', async () => {
  const { reported, tell, end } = following()
  await tell(hello(0))
  for (const from of [0, 1, 2]) await tell(change(from))
  expect(reported).toEqual([1, 2, 3])
  end()
})

test('in a large one many changes are one report, in its time', async () => {
  const { reported, connected, tell, end } = following()
  const spreadMs = 6_000
  const period = spreadMs * meshLimits.reportSpreads
  await tell(hello(0))
  await tell(change(0))
  expect(reported).toEqual([1])
  // It grew: the report that waits was timed for a small one.
  vi.spyOn(Math, 'random').mockReturnValue(0.9)
  await tell(hello(spreadMs))
  expect(connected).toHaveLength(1)
  for (let from = 1; from <= 50; from += 1) await tell(change(from))
  await vi.advanceTimersByTimeAsync(period * 0.9 - 1_000)
  expect(reported).toEqual([1])
  await vi.advanceTimersByTimeAsync(1_000)
  expect(reported).toEqual([1, 51])
  await vi.advanceTimersByTimeAsync(period)
  expect(reported).toEqual([1, 51, 51])
  end()
})
