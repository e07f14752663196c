import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { WorkerPool } from './pool.ts'
import type { PoolEvent, PoolWorker } from './pool.ts'

/** A worker that does what the test says. */
class FakeWorker implements PoolWorker {
  readonly posted: unknown[] = []
  terminated = 0
  hangs = false
  readonly #listeners = new Map<string, (argument: never) => void>()

  on(event: string, listener: (argument: never) => void): unknown {
    this.#listeners.set(event, listener)
    return this
  }

  emit(event: string, argument: unknown): void {
    this.#listeners.get(event)?.(argument as never)
  }

  postMessage(message: unknown): void {
    this.posted.push(message)
  }

  terminate(): Promise<number> {
    this.terminated += 1
    if (!this.hangs) this.emit('exit', 1)
    return Promise.resolve(1)
  }
}

interface Rig {
  readonly pool: WorkerPool
  readonly workers: FakeWorker[]
  readonly events: PoolEvent[]
  readonly detached: (readonly [number, number])[]
  readonly messages: unknown[]
  silence: number[]
}

function rig(count: number): Rig {
  const workers: FakeWorker[] = []
  const made: Omit<Rig, 'pool'> = {
    workers,
    events: [],
    detached: [],
    messages: [],
    silence: [],
  }
  const pool = new WorkerPool({
    workers: count,
    detach: (slot, generation) => void made.detached.push([slot, generation]),
    silence: () => made.silence,
    silenceMaxMs: 500,
    onEvent: (event) => void made.events.push(event),
    onMessage: (slot, message) => void made.messages.push([slot, message]),
    spawn: () => {
      const worker = new FakeWorker()
      workers.push(worker)
      return worker
    },
    now: () => Date.now(),
  })
  return Object.assign(made, { pool })
}

const ready = (generation: number): unknown => ({ type: 'ready', generation })

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('start is done when every worker said that it is ready', async () => {
  const { pool, workers } = rig(2)
  let done = false
  const started = pool.start().then(() => (done = true))
  workers[0]?.emit('message', ready(1))
  await Promise.resolve()
  expect([done, pool.ready]).toEqual([false, 1])
  workers[1]?.emit('message', ready(2))
  await started
  expect([done, pool.ready]).toEqual([true, 2])
})

test('a worker that throws loses its exchanges and is replaced at once', () => {
  const { pool, workers, events, detached } = rig(1)
  void pool.start()
  workers[0]?.emit('message', ready(7))
  vi.advanceTimersByTime(5000)
  workers[0]?.emit('error', new Error('boom'))
  workers[0]?.emit('exit', 1)
  expect(detached).toEqual([[0, 7]])
  expect(workers).toHaveLength(2)
  expect(events.at(-1)).toMatchObject({
    type: 'ended',
    slot: 0,
    reason: 'error',
    aliveMs: 5000,
    respawnInMs: 0,
  })
})

test('a silent worker is terminated, one that is busy for less is not', () => {
  const made = rig(2)
  void made.pool.start()
  for (const [index, worker] of made.workers.entries()) worker.emit('message', ready(index + 1))
  made.silence = [501, 500]
  vi.advanceTimersByTime(100)
  expect(made.workers.map((worker) => worker.terminated)).toEqual([1, 0, 0])
  expect(made.detached).toEqual([[0, 1]])
  expect(made.events.filter((event) => event.type !== 'ready')).toMatchObject([
    { type: 'silent', slot: 0, silenceMs: 501 },
    { type: 'ended', slot: 0, reason: 'silent' },
  ])
})

test('a worker that is not ready yet is not silent', () => {
  const made = rig(1)
  void made.pool.start()
  made.silence = [9999]
  vi.advanceTimersByTime(1000)
  expect(made.workers[0]?.terminated).toBe(0)
})

test('a worker that cannot be ended is reported once as stuck', () => {
  const made = rig(1)
  void made.pool.start()
  const [worker] = made.workers
  if (worker !== undefined) worker.hangs = true
  worker?.emit('message', ready(1))
  made.silence = [600]
  vi.advanceTimersByTime(5000)
  expect(worker?.terminated).toBe(1)
  expect(made.events.filter((event) => event.type === 'stuck')).toEqual([
    { type: 'stuck', slot: 0 },
  ])
})

test('quick ends in a row are backed off: 0, 50, 100 … 1000 ms', () => {
  const { pool, workers, events } = rig(1)
  pool.start().catch(() => undefined)
  for (let end = 0; end < 9; end += 1) {
    workers.at(-1)?.emit('message', ready(end))
    workers.at(-1)?.emit('exit', 0)
    vi.runOnlyPendingTimers()
  }
  const waits = events.flatMap((event) => (event.type === 'ended' ? [event.respawnInMs] : []))
  expect(waits.slice(0, 4)).toEqual([0, 50, 100, 200])
})

test('a worker that lived longer ends the row', () => {
  const { pool, workers, events } = rig(1)
  pool.start().catch(() => undefined)
  for (const lifeMs of [10, 10, 2000, 10]) {
    workers.at(-1)?.emit('message', ready(1))
    vi.advanceTimersByTime(lifeMs)
    workers.at(-1)?.emit('exit', 0)
    vi.advanceTimersByTime(50)
  }
  const waits = events.flatMap((event) => (event.type === 'ended' ? [event.respawnInMs] : []))
  expect(waits).toEqual([0, 50, 0, 0])
})

test('start fails with the cause when a worker never gets ready', async () => {
  const { pool, workers } = rig(1)
  const started = expect(pool.start()).rejects.toThrow('WAF worker 0 does not start: bad rules')
  for (let end = 0; end < 5; end += 1) {
    workers.at(-1)?.emit('error', new Error('bad rules'))
    workers.at(-1)?.emit('exit', 1)
    vi.advanceTimersByTime(1000)
  }
  await started
})

test('broadcast reaches every worker, other messages come back with their slot', () => {
  const { pool, workers, messages } = rig(2)
  void pool.start()
  pool.broadcast('reopen')
  expect(workers.map((worker) => worker.posted)).toEqual([['reopen'], ['reopen']])
  workers[1]?.emit('message', { type: 'stats' })
  expect(messages).toEqual([[1, { type: 'stats' }]])
})

test('stop ends the workers and starts none', async () => {
  const { pool, workers, events } = rig(2)
  void pool.start()
  await pool.stop()
  vi.advanceTimersByTime(5000)
  expect(workers.map((worker) => worker.terminated)).toEqual([1, 1])
  expect(events.map((event) => event.type === 'ended' && event.reason)).toEqual([
    'stopped',
    'stopped',
  ])
})
