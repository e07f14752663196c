import { expect, test, vi } from 'vitest'
import { LogSink, type SinkTarget } from './log-sink.ts'

type Done = Parameters<SinkTarget['write']>[1]

class SlowTarget implements SinkTarget {
  readonly writeBytesMax = 10
  readonly written: string[] = []
  #done: Done | null = null

  write(bytes: Buffer, done: Done): void {
    this.written.push(bytes.toString())
    this.#done = done
  }

  finish(error: NodeJS.ErrnoException | null = null, written = this.written.at(-1)?.length ?? 0) {
    this.#done?.(error, written)
  }
}

test('lines are written whole, one write at a time', () => {
  const target = new SlowTarget()
  const sink = new LogSink(target)
  for (const line of ['aaaa\n', 'bbbb\n', 'cccc\n']) sink.add(line)
  sink.flush()
  sink.flush()
  expect(target.written).toEqual(['aaaa\nbbbb\n'])
  target.finish()
  expect(target.written).toEqual(['aaaa\nbbbb\n', 'cccc\n'])
})

test('what does not fit is dropped and counted', () => {
  const sink = new LogSink(new SlowTarget(), { charactersMax: 10 })
  for (const line of ['aaaa\n', 'bbbb\n', 'cccc\n']) sink.add(line)
  expect(sink.dropped).toBe(1)
})

test('a write cut short goes on where it ended', () => {
  const target = new SlowTarget()
  const sink = new LogSink(target)
  sink.add('aaaa\n')
  sink.flush()
  target.finish(null, 2)
  expect(target.written).toEqual(['aaaa\n', 'aa\n'])
})

test('drained ends when everything is written, also when the reader is gone', async () => {
  const target = new SlowTarget()
  const sink = new LogSink(target)
  await sink.drained()
  sink.add('aaaa\n')
  const drained = sink.drained()
  target.finish(Object.assign(new Error('gone'), { code: 'EPIPE' }))
  await drained
  expect(sink.dropped).toBe(1)
})

test('a little waits for company, much goes at once', () => {
  vi.useFakeTimers()
  const target = new SlowTarget()
  const sink = new LogSink(target, { delayMs: 20 })
  sink.add('aaaa\n')
  sink.flush()
  expect(target.written).toEqual([])
  vi.advanceTimersByTime(20)
  expect(target.written).toEqual(['aaaa\n'])
  target.finish()
  for (const line of ['bbbb\n', 'cccc\n']) sink.add(line)
  sink.flush()
  expect(target.written).toEqual(['aaaa\n', 'bbbb\ncccc\n'])
  vi.useRealTimers()
})
