/** When an agent of a large mesh reports, and what it makes of a greeting that comes again. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { CoordinatorClient, StreamEvent } from './client.ts'
import type { Delta } from './entry.ts'
import { MeshFault } from './fault.ts'
import { Follower } from './following.ts'
import { meshLimits } from './limits.ts'
import { emptyView, noHash, type View } from './view.ts'

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
function following(announce: () => Promise<void> = async () => undefined, view: View = emptyView) {
  const reported: number[] = []
  const connected: string[] = []
  const warned: object[] = []
  let give: (event: StreamEvent) => void = () => undefined
  const client: Pick<CoordinatorClient, 'watch' | 'report'> = {
    async *watch() {
      for (;;) yield await new Promise<StreamEvent>((resolve) => (give = resolve))
    },
    report: async ({ applied }) => void reported.push(applied),
  }
  const log = {
    info: (_: object, text: string) => void connected.push(text),
    warn: (fields: object) => void warned.push(fields),
    error: () => undefined,
  }
  const follower = new Follower({
    client: client as CoordinatorClient,
    self: { id: 'own', name: 'own' },
    url: 'https://x',
    log,
    view,
    apply: async () => undefined,
    announce,
  })
  const ending = new AbortController()
  void follower.run(ending.signal)
  const tell = async (event: StreamEvent): Promise<void> => {
    await vi.advanceTimersByTimeAsync(1)
    give(event)
    await vi.advanceTimersByTimeAsync(1)
  }
  return { reported, connected, warned, tell, end: () => ending.abort() }
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

test('what a node says anew is told at the greeting: no change may follow', async () => {
  let announced = 0
  const { tell, end } = following(async () => void (announced += 1))
  await tell(hello(0))
  expect(announced).toBe(1)
  await tell(hello(1))
  expect(announced).toBe(1)
  end()
})

test('who comes back is reported, and goes on to be where nothing changes', async () => {
  const { reported, tell, end } = following(undefined, { ...emptyView, version: 7 })
  await tell(hello(0))
  expect(reported).toEqual([7])
  await vi.advanceTimersByTimeAsync(meshLimits.reportIntervalMs)
  expect(reported).toEqual([7, 7])
  end()
})

test('a refusal of that is told with its mend, and the stream goes on', async () => {
  const refusal = { where: '--advertise', message: 'not allowed', mend: 'ask for it' }
  let code = 'CIDR_NOT_ALLOWED'
  const { reported, connected, warned, tell, end } = following(async () => {
    throw new MeshFault(code, refusal)
  })
  await tell(hello(0))
  const { where, mend, message: reason } = refusal
  expect(warned).toEqual([{ coordinator: 'https://x', where, reason, mend }])
  code = 'RECORD_OLD' // the newer one is on its way
  await tell(change(0))
  expect([reported, warned.length, connected.length]).toEqual([[1], 1, 1])
  end()
})

test('streams that end again and again are told, and asked for less often', async () => {
  const begun: number[] = []
  const warned: string[] = []
  const client = {
    async *watch() {
      begun.push(Date.now())
      yield hello(0)
    },
    report: async () => undefined,
  } as unknown as CoordinatorClient
  const log = {
    info: () => undefined,
    warn: (_: object, text: string) => void warned.push(text),
    error: () => undefined,
  }
  const follower = new Follower({
    client,
    self: { id: 'own', name: 'own' },
    url: 'https://x',
    log,
    view: emptyView,
    apply: async () => undefined,
    announce: async () => undefined,
  })
  const ending = new AbortController()
  void follower.run(ending.signal)
  while (begun.length < meshLimits.briefStreamsMax) await vi.advanceTimersByTimeAsync(100)
  expect(new Set(warned)).toEqual(new Set(['the stream of the coordinator ends again and again']))
  await vi.advanceTimersByTimeAsync(10 * meshLimits.retryMsMax)
  // It was one each second.
  expect(begun.length).toBeLessThan(100)
  ending.abort()
})
