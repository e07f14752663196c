import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { heard } from './silence.ts'

test('a stream that says nothing for too long ends with a reason', async () => {
  const body = new PassThrough()
  const silence = { ms: 60_000 }
  const chunks = heard(body, silence)
  body.write('one')
  expect(String((await chunks.next()).value)).toBe('one')
  // It said how long it may be silent.
  silence.ms = 20
  await expect(chunks.next()).rejects.toThrow('the coordinator fell silent')
})

test('a stream that ends is not waited for', async () => {
  const body = new PassThrough()
  body.end('all')
  const chunks = heard(body, { ms: 60_000 })
  expect(String((await chunks.next()).value)).toBe('all')
  expect((await chunks.next()).done).toBe(true)
})
